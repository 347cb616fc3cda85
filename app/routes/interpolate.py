"""POST /interpolate: an animation from seed to seed, sent frame by frame."""

from __future__ import annotations

import asyncio

from fastapi import Request
from fastapi.responses import Response

from app.auth import Generates
from app.drawings import QueuedJob, job_response, wants_job
from app.heads import Router
from app.idempotency import Repeatable
from app.images import Composed, check_composition, image_response
from app.openapi import files
from app.schemas import InterpolateBody
from app.services import Use
from app.visits import PREFER, Visitor
from app.webhooks import checked_webhook

router = Router(tags=["images"])


@router.post(
    "/interpolate",
    operation_id="interpolate",
    summary="Draw a walk between seeds",
    response_class=Response,
    openapi_extra={"parameters": [PREFER]},
    responses={
        200: {"content": files("image/apng", "image/webp"), "description": "the animation"},
        202: {
            "model": QueuedJob,
            "description": "asked for with `Prefer: respond-async`: a job",
        },
        404: {"description": "no such model"},
        429: {"description": "this key has too many images under way; see Retry-After"},
        503: {"description": "no worker, no Redis, or too many waiting; see Retry-After"},
    },
)
async def interpolate(
    body: InterpolateBody, request: Request, use: Use, client: Generates, visit: Visitor, repeats: Repeatable
) -> Response:
    r"""A frame that falls on a seed is that seed's picture, to the bit.

    curl -d '{"seeds": [1, 2, 3], "frames": 72}' -H 'Content-Type: application/json' \
             localhost:8000/interpolate -o walk.png
    """
    model, walk = use.model(body.model), body.walk()
    said = body.model_dump_json(exclude_unset=True)
    settled = await repeats.settle_soon(use.jobs.redis, said, digest=model.identity)
    check_composition(walk, use.settings)
    is_job = wants_job(request)
    webhook = checked_webhook(body.webhook, is_job, use.settings)
    if is_job:
        return await asyncio.to_thread(job_response, model, walk, settled.id, webhook, use, client)
    settled.check(model)
    return await image_response(Composed(model, walk), use, visit)
