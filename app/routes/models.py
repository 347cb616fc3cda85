"""Models: what can be drawn with, and which one when none is named."""

from __future__ import annotations

import logging

from app.answers import Model, Models
from app.auth import Administers, Known
from app.heads import Router
from app.paths import ModelName
from app.queries import Cursor, Limit
from app.schemas import page
from app.services import Services, Use
from contract.disk import writing
from contract.models import PublishedModel

log = logging.getLogger(__name__)

router = Router(prefix="/models", tags=["models"])


@router.get("", operation_id="list_models", summary="List models")
def listing(use: Use, client: Known, limit: Limit = 100, cursor: Cursor = None) -> Models:
    """Shipped and trained models by name, a page at a time; ``skipped`` names those that cannot be read."""
    found, skipped = use.models()
    models = page(found, lambda model: model.name, limit, cursor)
    return Models(
        items=[told(model, use) for model in models.items],
        next_cursor=models.next_cursor,
        skipped=skipped,
    )


@router.get("/{name}", operation_id="get_model", summary="One model")
def one(name: ModelName, use: Use, client: Known) -> Model:
    """The model of that name; ``default`` is the one drawn with when none is named."""
    return told(use.model(name), use)


@router.post(
    "/{name}/promote",
    operation_id="promote_model",
    summary="Make it the one that is drawn with when none is named",
)
def promote(name: ModelName, use: Use, client: Administers) -> Model:
    """From the next request on ``default`` names this model, in all processes and after restarts.

    curl -X POST localhost:8000/models/my-cats/promote

    URLs that name a digest stay what they are; those that name ``default`` lead to the new one.
    """
    model = use.model(name)
    with writing(use.promotion.path.parent):
        use.promotion.promote(model.name)
    log.info("%s@%s is promoted by %s", model.name, model.short_digest, client.name)
    return told(model, use)


def told(model: PublishedModel, use: Services) -> Model:
    """What is said of a model."""
    return Model(**model.describe(), default=model.name == use.default_model())
