"""POST /generate: one seed, one image, streamed; several, a zip or a grid of them."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Request
from fastapi.responses import Response

from app.auth import Generates
from app.drawings import job_response, wants_job
from app.images import Composed, Picture, check_composition, check_size, image_response
from app.schemas import GenerateBody
from app.services import Use
from app.zips import zip_response
from contract.jobs import Job
from contract.messages import Grid

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
        202: {
            "model": Job,
            "description": "asked for with `Prefer: respond-async`: a job",
        },
        404: {"description": "no such model"},
        503: {"description": "no worker, no Redis, or too many waiting; see Retry-After"},
    },
)
async def generate(body: GenerateBody, request: Request, use: Use, client: Generates) -> Response:
    r"""The same seed, resolution, truncation and model give the same bytes, every time.

    curl -d '{"seed": 42, "resolution": 512}' -H 'Content-Type: application/json' \
             localhost:8000/generate -o seed0042.png
    """
    model, what = use.model(body.model), body.what()
    if isinstance(what, Grid):
        check_composition(what, use.settings)
    else:
        check_size(what.columns, what.rows, what.form, use.settings)
    if wants_job(request):
        return await asyncio.to_thread(job_response, model, what, use)
    if isinstance(what, Grid):
        return await image_response(Composed(model, what), use)
    pictures = [
        Picture(model, seed, what.truncation, what.columns, what.rows, what.form) for seed in what.seeds
    ]
    return await (zip_response(pictures, use) if what.zipped else image_response(pictures[0], use))
