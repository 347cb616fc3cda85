"""POST /generate: one seed, one image, streamed."""

from __future__ import annotations

import hashlib

from fastapi import APIRouter
from fastapi.responses import Response, StreamingResponse

from app.coalesce import Shape
from app.errors import Internal, InvalidRequest, Unavailable
from app.metrics import ANSWER_SECONDS, BATCH_IMAGES, IMAGES
from app.schemas import GenerateBody
from app.services import Services, Use
from app.settings import AppSettings
from contract.models import PublishedModel
from contract.stream import Frame, Kind

router = APIRouter(tags=["images"])

BYTES_VERSION = 1  # raise it when the same request comes to give other bytes


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
    width, height = body.resolution
    check_size(width, height, use.settings)
    model = use.model(body.model)
    use.require_fleet()
    shape = Shape(model.name, model.digest, width, height)
    with ANSWER_SECONDS.time():
        first = await use.coalescer.submit(shape, body.seed, body.truncation)
    try:
        refuse_errors(first)
    except BaseException:
        await use.replies.forget(first.id, complete=True)
        raise
    IMAGES.inc()
    BATCH_IMAGES.observe(first.meta["batch"])
    headers = {
        "X-Seed": str(body.seed),
        "X-Model": f"{model.name}@{model.short_digest}",
        "ETag": etag(model, body),
        "Server-Timing": server_timing(first),
    }
    return await answer(first, use, headers)


def check_size(width: int, height: int, settings: AppSettings) -> None:
    """Raises ``InvalidRequest`` if an image of that size is over the service's limits."""
    if max(width, height) > settings.max_side:
        raise InvalidRequest(f"resolution: {width}x{height}, a side may be {settings.max_side} at most")
    if width * height > settings.max_pixels:
        raise InvalidRequest(
            f"resolution: {width}x{height} is {width * height} pixels, "
            f"at most {settings.max_pixels} are drawn"
        )


def refuse_errors(frame: Frame) -> None:
    """Raises what an error frame stands for."""
    if frame.kind is not Kind.ERROR:
        return
    match frame.meta["code"]:
        case "model_gone":
            raise Unavailable("the model has just been replaced: try again")
        case "not_queued":
            raise Unavailable("Redis does not take the request: try again in a few seconds")
        case _:
            raise Internal("the worker failed to draw this image; its log says why")


async def answer(first: Frame, use: Services, headers: dict[str, str]) -> Response:
    """A small image whole, with its length; a larger one as it is painted."""
    if first.kind is Kind.LAST:
        await use.replies.forget(first.id, complete=True)
        return Response(first.payload, headers=headers, media_type="image/png")
    chunks = use.replies.chunks(first.id, first, use.settings.answer_seconds)
    return StreamingResponse(chunks, headers=headers, media_type="image/png")


def etag(model: PublishedModel, body: GenerateBody) -> str:
    """Strong: equal tags, equal bytes."""
    width, height = body.resolution
    named = f"{BYTES_VERSION} {model.digest} {body.seed} {width}x{height} {body.truncation!r} png"
    return f'"{hashlib.sha256(named.encode()).hexdigest()[:32]}"'


def server_timing(frame: Frame) -> str:
    """Where the time went, in milliseconds, and how many images were drawn together."""
    meta = frame.meta
    return (
        f"queue;dur={max(0, meta['queue']) * 1000:.1f}, "
        f'batch;desc="{meta["batch"]}", render;dur={meta["render"] * 1000:.1f}'
    )
