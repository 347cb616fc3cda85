"""POST /generate: one seed, one image, streamed; several, a zip or a grid of them."""

from __future__ import annotations

import asyncio

from fastapi import Request
from fastapi.responses import Response

from app.auth import Generates
from app.drawings import QueuedJob, job_response, wants_job
from app.heads import Router
from app.idempotency import Repeatable
from app.images import MEDIA_TYPES, Composed, Picture, check_composition, check_size, image_response
from app.openapi import files
from app.schemas import GenerateBody
from app.services import Use
from app.visits import PREFER, Visitor
from app.webhooks import checked_webhook
from app.zips import zip_response
from contract.messages import Grid

router = Router(tags=["images"])


@router.post(
    "/generate",
    operation_id="generate",
    summary="Draw images",
    response_class=Response,
    openapi_extra={"parameters": [PREFER]},
    responses={
        200: {
            "content": files(*MEDIA_TYPES.values(), "application/zip"),
            "description": "the image, or of several seeds a zip or a grid",
        },
        202: {
            "model": QueuedJob,
            "description": "asked for with `Prefer: respond-async`: a job",
        },
        404: {"description": "no such model"},
        429: {"description": "this key has too many images under way; see Retry-After"},
        503: {"description": "no worker, no Redis, or too many waiting; see Retry-After"},
    },
)
async def generate(
    body: GenerateBody, request: Request, use: Use, client: Generates, visit: Visitor, repeats: Repeatable
) -> Response:
    r"""The same seed, resolution, truncation and model give the same bytes, every time.

    curl -d '{"seed": 42, "resolution": 512}' -H 'Content-Type: application/json' \
             localhost:8000/generate -o seed0042.png
    """
    model = use.model(body.model)
    said = body.model_dump_json(exclude_unset=True)
    settled = await repeats.settle_soon(use.jobs.redis, said, body.seed, model.identity)
    what = body.model_copy(update={"seed": settled.seed}).what()
    if isinstance(what, Grid):
        check_composition(what, use.settings)
    else:
        check_size(what.columns, what.rows, what.form, use.settings)
    is_job = wants_job(request)
    webhook = checked_webhook(body.webhook, is_job, use.settings)
    if is_job:
        return await asyncio.to_thread(job_response, model, what, settled.id, webhook, use, client)
    settled.check(model)
    if isinstance(what, Grid):
        return await image_response(Composed(model, what), use, visit)
    pictures = [
        Picture(model, seed, what.truncation, what.columns, what.rows, what.form) for seed in what.seeds
    ]
    if what.zipped:
        return await zip_response(pictures, use, visit)
    return await image_response(pictures[0], use, visit)
