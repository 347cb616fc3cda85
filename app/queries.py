"""What holds of every URL's query."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Annotated

from fastapi import Query, Request
from fastapi.dependencies.models import Dependant
from pydantic import BaseModel, BeforeValidator, Field

from app.auth import Known
from app.errors import InvalidRequest, short
from app.numbers import as_digits

Limit = Annotated[
    int, Field(ge=1, le=1000), BeforeValidator(as_digits), Query(description="items of a page of the list")
]
Cursor = Annotated[str | None, Query(description="`next_cursor` of the page before; the first page without")]


async def known_once(request: Request) -> None:
    """Raises ``InvalidRequest`` if a parameter is none of the route's, or is given twice: which is meant?"""
    counts = Counter(name for name, _ in request.query_params.multi_items())
    if not counts:
        return
    known = set(_names(request.scope["route"].dependant))
    if unknown := sorted(counts.keys() - known):
        told = f"it takes {', '.join(sorted(known))}" if known else "it takes none"
        raise InvalidRequest(f"{short(', '.join(unknown))}: unknown field of the URL, leave it out ({told})")
    if twice := sorted(name for name, count in counts.items() if count > 1):
        raise InvalidRequest(f"{short(', '.join(twice))}: given more than once in the URL, give it once")


async def known_once_by_known(request: Request, client: Known) -> None:
    """The same on routes that need a key; who has none hears of that first."""
    await known_once(request)


def _names(dependant: Dependant) -> Iterator[str]:
    """The query parameters of a route, those of a model each by itself."""
    for field in dependant.query_params:
        kind = field.field_info.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from kind.model_fields
        else:
            yield field.alias
    for other in dependant.dependencies:
        yield from _names(other)
