"""POST /generate: one seed, one image, streamed."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import Response

from app.images import Picture, check_size, image_response
from app.schemas import GenerateBody
from app.services import Use

router = APIRouter(tags=["images"])


@router.post(
    "/generate",
    summary="Draw one image",
    response_class=Response,
    responses={
        200: {"content": {"image/png": {}}, "description": "the image"},
        404: {"description": "no such model"},
        503: {"description": "no worker, no Redis, or too many waiting; see Retry-After"},
    },
)
async def generate(body: GenerateBody, use: Use) -> Response:
    r"""The same seed, resolution, truncation and model give the same bytes, every time.

    curl -d '{"seed": 42, "resolution": 512}' -H 'Content-Type: application/json' \
             localhost:8000/generate -o seed0042.png
    """
    picture = Picture(use.model(body.model), body.seed, body.truncation, *body.sides, body.form)
    check_size(picture.columns, picture.rows, picture.form, use.settings)
    return await image_response(picture, use)
