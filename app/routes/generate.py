"""POST /generate: one seed, one image, streamed; several, a zip or a grid of them."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import Response

from app.images import Composed, Picture, check_composition, check_size, image_response
from app.schemas import GenerateBody
from app.services import Use
from app.zips import zip_response

router = APIRouter(tags=["images"])


@router.post(
    "/generate",
    summary="Draw images",
    response_class=Response,
    responses={
        200: {
            "content": {"image/png": {}, "image/webp": {}, "image/jpeg": {}, "application/zip": {}},
            "description": "the image, or of several seeds a zip or a grid",
        },
        404: {"description": "no such model"},
        503: {"description": "no worker, no Redis, or too many waiting; see Retry-After"},
    },
)
async def generate(body: GenerateBody, use: Use) -> Response:
    r"""The same seed, resolution, truncation and model give the same bytes, every time.

    curl -d '{"seed": 42, "resolution": 512}' -H 'Content-Type: application/json' \
             localhost:8000/generate -o seed0042.png
    """
    model, (columns, rows) = use.model(body.model), body.sides
    if body.layout == "grid":
        grid = body.grid()
        check_composition(grid, use.settings)
        return await image_response(Composed(model, grid), use)
    check_size(columns, rows, body.form, use.settings)
    pictures = [
        Picture(model, seed, body.truncation, columns, rows, body.form) for seed in body.seeds or (body.seed,)
    ]
    return await (zip_response(pictures, use) if body.seeds else image_response(pictures[0], use))
