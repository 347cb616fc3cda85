"""POST /interpolate: an animation from seed to seed, sent frame by frame."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import Response

from app.images import Composed, check_composition, image_response
from app.schemas import InterpolateBody
from app.services import Use

router = APIRouter(tags=["images"])


@router.post(
    "/interpolate",
    summary="Draw a walk between seeds",
    response_class=Response,
    responses={
        200: {"content": {"image/apng": {}, "image/webp": {}}, "description": "the animation"},
        404: {"description": "no such model"},
        503: {"description": "no worker, no Redis, or too many waiting; see Retry-After"},
    },
)
async def interpolate(body: InterpolateBody, use: Use) -> Response:
    r"""A frame that falls on a seed is that seed's picture, to the bit.

    curl -d '{"seeds": [1, 2, 3], "frames": 72}' -H 'Content-Type: application/json' \
             localhost:8000/interpolate -o walk.png
    """
    model, walk = use.model(body.model), body.walk()
    check_composition(walk, use.settings)
    return await image_response(Composed(model, walk), use)
