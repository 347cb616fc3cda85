"""An image as an answer: asked for, awaited, streamed; whoever asks, by whatever route."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass

from fastapi.responses import Response, StreamingResponse
from redis import RedisError

from app.admission import Place
from app.errors import Internal, InvalidRequest, Unavailable
from app.metrics import ANSWER_SECONDS, IMAGES_SENT, PIXELS_SENT
from app.orders import Shape, Whole
from app.replies import CarryOn, Taken
from app.services import Services
from app.settings import AppSettings
from app.visits import Visit
from contract.logs import bound
from contract.messages import COLOUR_PNG, Form, Grid, Position, Side, Walk
from contract.models import PublishedModel
from contract.presence import beats
from contract.queue import GENERATE
from contract.stream import Frame, Kind
from contract.versions import BYTES_VERSION

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
        named = repr((BYTES_VERSION, self.model.identity, self.seed, float(self.truncation),
                      self.columns, self.rows, self.form))  # fmt: skip
        return f'"{hashlib.sha256(named.encode()).hexdigest()[:32]}"'

    @property
    def media_type(self) -> str:
        """Of its file."""
        return MEDIA_TYPES[self.form.format]

    @property
    def key(self) -> Shape:
        """What it shares with those that it can be drawn with."""
        return Shape(
            self.model.name, self.model.digest, self.columns, self.rows, self.form, self.model.arithmetic
        )

    def headers(self) -> dict[str, str]:
        """What is known of it before it is drawn."""
        return {
            "X-Seed": str(self.seed),
            "X-Model": self.model.reference,
            "ETag": self.etag,
        }


@dataclass(frozen=True)
class Composed:
    """One file of several seeds, and what its bytes follow from."""

    model: PublishedModel
    what: Grid | Walk

    @property
    def etag(self) -> str:
        """Strong: equal tags, equal bytes."""
        named = repr((BYTES_VERSION, self.model.identity, self.what))
        return f'"{hashlib.sha256(named.encode()).hexdigest()[:32]}"'

    @property
    def media_type(self) -> str:
        """Of its file."""
        return self.what.media_type

    @property
    def key(self) -> Whole:
        """It is drawn with nothing else."""
        return Whole(self.model.name, self.model.digest, self.what, self.model.arithmetic)

    @property
    def seed(self) -> int:
        """Its first one, which stands for it."""
        return self.what.seeds[0]

    @property
    def truncation(self) -> float:
        """Of all its pictures."""
        return self.what.truncation

    def headers(self) -> dict[str, str]:
        """What is known of it before it is drawn."""
        return {"X-Model": self.model.reference, "ETag": self.etag}


Drawable = Picture | Composed


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


def check_composition(what: Grid | Walk, settings: AppSettings) -> None:
    """Raises ``InvalidRequest`` if what is made of several seeds is over the service's limits."""
    check_size(what.columns, what.rows, COLOUR_PNG, settings)
    limit, about = settings.max_pixels, ""
    if isinstance(what, Grid):
        if max(what.width, what.height) > settings.max_side:
            raise InvalidRequest(
                f"resolution: the grid would be {what.width}x{what.height}, a side may be {settings.max_side}"
            )
    else:
        if what.frames > settings.max_frames:
            raise InvalidRequest(f"frames: {what.frames}, at most {settings.max_frames} are drawn")
        form = Form(format=what.format, quality="gray")  # a frame is made whole before it is sent
        check_size(what.columns, what.rows, form, settings)
        if what.format == "webp":
            limit, about = min(limit, settings.max_whole_pixels), " in this format (png may be larger)"
    if what.pixels > limit:
        raise InvalidRequest(f"resolution: {what.pixels} pixels in all, at most {limit} are drawn{about}")


async def image_response(
    picture: Drawable, use: Services, visit: Visit, headers: dict[str, str] | None = None
) -> Response:
    """The image: a small one whole, with its length; a larger one as it is painted."""
    use.require_fleet(picture.model.arithmetic)
    place = await use.gate.enter(visit.client, visit.bound, 1, picture.key.pixels)
    try:
        first = await visit.work(first_frame(picture, use, visit))
    except BaseException:
        place.leave()
        raise
    told = picture.headers() | {"Server-Timing": server_timing(first)} | (headers or {})
    if first.kind is Kind.LAST:
        await use.replies.forget(first.id, complete=True)
        place.leave()
        return Response(first.payload, headers=told, media_type=picture.media_type)
    chunks = holding(place, the_rest(picture, first, use, place.advance))
    return StreamingResponse(chunks, headers=told, media_type=picture.media_type)


async def image_bytes(picture: Drawable, use: Services, visit: Visit) -> bytes:
    """The image whole, for what is made of several."""
    first = await first_frame(picture, use, visit)
    if first.kind is Kind.LAST:
        await use.replies.forget(first.id, complete=True)
        return first.payload
    return b"".join([chunk async for chunk in the_rest(picture, first, use)])


async def first_frame(picture: Drawable, use: Services, visit: Visit) -> Frame:
    """Queues it and waits until it begins to come; raises what keeps it from that."""
    use.require_fleet(picture.model.arithmetic)
    started = time.perf_counter()
    first = await use.coalescer.submit(
        picture.key, picture.seed, picture.truncation, visit.client, visit.wait
    )
    try:
        refuse_errors(first)
    except BaseException:
        await use.replies.forget(first.id, complete=True)
        raise
    ANSWER_SECONDS.observe(time.perf_counter() - started, {"request_id": bound("request_id")})
    IMAGES_SENT.inc()
    PIXELS_SENT.inc(picture.key.pixels)
    return first


def the_rest(
    picture: Drawable, first: Frame, use: Services, taken: Taken = lambda share: None
) -> AsyncGenerator[bytes, None]:
    """The image's bytes, from its first frame's on; ``taken`` hears what share of it the client has."""
    return use.replies.chunks(first, use.settings.answer_seconds, successor(picture, use), taken)


async def holding(place: Place, parts: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """The same parts; the place is given back when they end."""
    try:
        async with aclosing(parts):
            async for part in parts:
                yield part
    finally:
        place.leave()


def successor(picture: Drawable, use: Services) -> CarryOn:
    """Who goes on with a picture whose worker has died."""

    async def carry_on(worker: str, position: Position) -> str | None:
        try:
            lives = await asyncio.to_thread(beats, use.fleet.redis, GENERATE, worker)
        except RedisError:
            return None  # nobody can be asked now
        if lives:
            return None
        return await use.coalescer.carry_on(picture.key, picture.seed, picture.truncation, position)

    return carry_on


def refuse_errors(frame: Frame) -> None:
    """Raises what an error frame stands for."""
    if frame.kind is not Kind.ERROR:
        return
    match frame.meta["code"]:
        case "model_gone":
            raise Unavailable("the model has just been replaced: try again", reason="model_replaced")
        case "not_queued":
            raise Unavailable(
                "Redis does not take the request: try again in a few seconds", reason="not_queued"
            )
        case _:
            raise Internal("the worker failed to draw this image; its log says why")


def server_timing(frame: Frame) -> str:
    """Where the time went, in milliseconds, and how many images were drawn together."""
    meta = frame.meta
    return (
        f"queue;dur={max(0, meta['queue']) * 1000:.1f}, "
        f'batch;desc="{meta["batch"]}", render;dur={meta["render"] * 1000:.1f}'
    )
