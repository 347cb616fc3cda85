"""Models: what can be drawn with."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query

from app.auth import Known
from app.schemas import Listing, page
from app.services import Use

router = APIRouter(prefix="/models", tags=["models"])


@router.get("", summary="List models")
def listing(
    use: Use, client: Known, limit: Annotated[int, Query(ge=1, le=1000)] = 100, cursor: str | None = None
) -> Listing[dict[str, Any]]:
    """Shipped and trained models by name, a page at a time."""
    models = page(use.library.list(), lambda model: model.name, limit, cursor)
    items = [model.describe() for model in models.items]
    return Listing(items=items, next_cursor=models.next_cursor)


@router.get("/{name}", summary="One model")
def one(name: str, use: Use, client: Known) -> dict[str, Any]:
    """The model of that name; ``default`` is the one drawn with when none is named."""
    return use.model(name).describe()
