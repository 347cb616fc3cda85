"""An image as an answer: asked for, awaited, streamed; whoever asks, by whatever route."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass

from fastapi.responses import Response, StreamingResponse
from redis import RedisError

from app.coalesce import Shape
from app.errors import Internal, InvalidRequest, Unavailable
from app.metrics import ANSWER_SECONDS, BATCH_IMAGES, IMAGES
from app.replies import CarryOn
from app.services import Services
from app.settings import AppSettings
from contract.messages import COLOUR_PNG, Form, Position, Side
from contract.models import PublishedModel
from contract.presence import beats
from contract.queue import GENERATE
from contract.stream import Frame, Kind

BYTES_VERSION = 2  # raise it when the same request comes to give other bytes
MEDIA_TYPES = {"png": "image/png", "webp": "image/webp", "jpeg": "image/jpeg"}
MAX_WEBP_SIDE = 16_383  # of the format


@dataclass(frozen=True)
class Picture:
    """What an image's bytes follow from, and nothing else."""

    model: PublishedModel
    seed: int
    truncation: float
    columns: Side
    rows: Side
    form: Form = COLOUR_PNG

    @property
    def etag(self) -> str:
        """Strong: equal tags, equal bytes."""
        named = repr((BYTES_VERSION, self.model.digest, self.seed, float(self.truncation),
                      self.columns, self.rows, self.form))  # fmt: skip
        return f'"{hashlib.sha256(named.encode()).hexdigest()[:32]}"'

    @property
    def shape(self) -> Shape:
        """What it shares with those that it can be drawn with."""
        return Shape(self.model.name, self.model.digest, self.columns, self.rows, self.form)

    def headers(self) -> dict[str, str]:
        """What is known of it before it is drawn."""
        return {
            "X-Seed": str(self.seed),
            "X-Model": f"{self.model.name}@{self.model.short_digest}",
            "ETag": self.etag,
        }


def check_size(columns: Side, rows: Side, form: Form, settings: AppSettings) -> None:
    """Raises ``InvalidRequest`` if an image of that size is over the service's limits."""
    width, height = columns.count, rows.count
    for side in (columns, rows):
        if side.full > settings.max_side:
            raise InvalidRequest(
                f"resolution: {columns.full}x{rows.full}, a side may be {settings.max_side} at most"
            )
    limit = settings.max_pixels if form.streamed else min(settings.max_pixels, settings.max_whole_pixels)
    if width * height > limit:
        what = "" if form.streamed else " in this format (PNG may be larger)"
        raise InvalidRequest(
            f"resolution: {width}x{height} is {width * height} pixels, at most {limit} are drawn{what}"
        )
    if form.format == "webp" and max(width, height) > MAX_WEBP_SIDE:
        raise InvalidRequest(f"format: a WebP's side is {MAX_WEBP_SIDE} at most, ask for PNG")


async def image_response(picture: Picture, use: Services, headers: dict[str, str] | None = None) -> Response:
    """The image: a small one whole, with its length; a larger one as it is painted."""
    first = await first_frame(picture, use)
    media_type = MEDIA_TYPES[picture.form.format]
    told = picture.headers() | {"Server-Timing": server_timing(first)} | (headers or {})
    if first.kind is Kind.LAST:
        await use.replies.forget(first.id, complete=True)
        return Response(first.payload, headers=told, media_type=media_type)
    chunks = use.replies.chunks(first, use.settings.answer_seconds, successor(picture, use))
    return StreamingResponse(chunks, headers=told, media_type=media_type)


async def image_bytes(picture: Picture, use: Services) -> bytes:
    """The image whole, for what is made of several."""
    first = await first_frame(picture, use)
    chunks = use.replies.chunks(first, use.settings.answer_seconds, successor(picture, use))
    return b"".join([chunk async for chunk in chunks])


async def first_frame(picture: Picture, use: Services) -> Frame:
    """Queues it and waits until it begins to come; raises what keeps it from that."""
    use.require_fleet()
    with ANSWER_SECONDS.time():
        first = await use.coalescer.submit(picture.shape, picture.seed, picture.truncation)
    try:
        refuse_errors(first)
    except BaseException:
        await use.replies.forget(first.id, complete=True)
        raise
    IMAGES.inc()
    BATCH_IMAGES.observe(first.meta["batch"])
    return first


def successor(picture: Picture, use: Services) -> CarryOn:
    """Who goes on with a picture whose worker has died."""

    async def carry_on(worker: str, position: Position) -> str | None:
        try:
            lives = await asyncio.to_thread(beats, use.fleet.redis, GENERATE, worker)
        except RedisError:
            return None  # nobody can be asked now
        if lives:
            return None
        return await use.coalescer.carry_on(picture.shape, picture.seed, picture.truncation, position)

    return carry_on


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


def server_timing(frame: Frame) -> str:
    """Where the time went, in milliseconds, and how many images were drawn together."""
    meta = frame.meta
    return (
        f"queue;dur={max(0, meta['queue']) * 1000:.1f}, "
        f'batch;desc="{meta["batch"]}", render;dur={meta["render"] * 1000:.1f}'
    )
