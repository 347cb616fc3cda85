"""POST /interpolate: an animation from seed to seed, sent frame by frame."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Request
from fastapi.responses import Response

from app.auth import Generates
from app.drawings import job_response, wants_job
from app.images import Composed, check_composition, image_response
from app.schemas import InterpolateBody
from app.services import Use
from contract.jobs import Job

router = APIRouter(tags=["images"])


@router.post(
    "/interpolate",
    summary="Draw a walk between seeds",
    response_class=Response,
    responses={
        200: {"content": {"image/apng": {}, "image/webp": {}}, "description": "the animation"},
        202: {
            "model": Job,
            "description": "asked for with `Prefer: respond-async`: a job",
        },
        404: {"description": "no such model"},
        503: {"description": "no worker, no Redis, or too many waiting; see Retry-After"},
    },
)
async def interpolate(body: InterpolateBody, request: Request, use: Use, client: Generates) -> Response:
    r"""A frame that falls on a seed is that seed's picture, to the bit.

    curl -d '{"seeds": [1, 2, 3], "frames": 72}' -H 'Content-Type: application/json' \
             localhost:8000/interpolate -o walk.png
    """
    model, walk = use.model(body.model), body.walk()
    check_composition(walk, use.settings)
    if wants_job(request):
        return await asyncio.to_thread(job_response, model, walk, use)
    return await image_response(Composed(model, walk), use)
