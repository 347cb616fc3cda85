"""Frames from the workers, read by one task of this process and handed to the requests that wait."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any, cast

from redis.asyncio import Redis
from redis.exceptions import ConnectionError as NoConnectionError
from redis.exceptions import RedisError

from contract import keys
from contract.messages import Position
from contract.stream import CREDIT, GAP, GONE, REPLY_TTL, Frame, Kind

log = logging.getLogger(__name__)

FRAMES_AT_ONCE = 64
BLOCK_SECONDS = 5
LOOK_SECONDS = 1.0  # how often one that waits for the rest asks whether its worker lives
NOBODY = "nobody"  # a worker that never beats

# Given the worker and where its bytes end: the id of the rest's frames, if somebody else was asked for it.
CarryOn = Callable[[str, Position], Awaitable[str | None]]

Taken = Callable[[float], None]  # given the share of an image that its client has


@dataclass
class Source:
    """Where the rest of an image comes from."""

    image_id: str
    worker: str  # "" while it is not known


class Replies:
    """The mailbox of this API process: an id of its own, and a queue for each image that is awaited.

    ``redis`` must be patient enough to block, and is used for nothing else but credits.
    """

    def __init__(self, redis: Redis) -> None:
        self.redis = redis
        self.id = uuid.uuid4().hex
        self.on_taken: Callable[[str, str], None] = lambda order_id, worker: None
        self.on_forgotten: Callable[[str], None] = lambda image_id: None
        self._waiting: dict[str, asyncio.Queue[Frame]] = {}
        self._bytes: dict[str, int] = {}  # that have come of each image

    def __len__(self) -> int:
        """Images that are awaited."""
        return len(self._waiting)

    def expect(self, image_id: str) -> asyncio.Queue[Frame]:
        """From now on, frames of that image are kept."""
        queue: asyncio.Queue[Frame] = asyncio.Queue()
        self._waiting[image_id], self._bytes[image_id] = queue, 0
        return queue

    def deliver(self, frame: Frame) -> None:
        """Hands a frame to whoever waits for it; if nobody does, it is dropped."""
        if frame.kind is Kind.TAKEN:
            self.on_taken(frame.id, frame.meta["worker"])
            return
        queue = self._waiting.get(frame.id)
        if queue is not None and (fitting := self._fitting(frame)):
            queue.put_nowait(fitting)

    def _fitting(self, frame: Frame) -> Frame | None:
        """What of the frame goes on where the ones before it ended; None if it came already.

        A Redis that is killed or frozen may lose frames that it had given out: then this is an ERROR frame.
        """
        if frame.kind is Kind.ERROR:
            return frame
        come = self._bytes[frame.id] - frame.start
        if come < 0:
            return Frame(frame.id, Kind.ERROR, meta={"code": GAP})
        if frame.kind is Kind.DATA and frame.payload and come >= len(frame.payload):
            return None
        rest = frame.payload[come:]
        self._bytes[frame.id] += len(rest)
        return replace(frame, payload=rest)

    def drop(self, image_id: str) -> None:
        """Nobody waits any more."""
        self._waiting.pop(image_id, None)
        self._bytes.pop(image_id, None)
        self.on_forgotten(image_id)

    async def forget(self, image_id: str, complete: bool) -> None:
        """Nobody waits any more; an image that is not complete is stopped where it is drawn."""
        self.drop(image_id)
        if not complete:
            with contextlib.suppress(RedisError):
                await self._tell(image_id, GONE)

    async def chunks(
        self, first: Frame, wait: float, carry_on: CarryOn, taken: Taken = lambda share: None
    ) -> AsyncGenerator[bytes, None]:
        """The image's bytes from its first frame on, each chunk paid for with a credit when taken.

        ``taken`` hears what share of the image the client has.
        ``carry_on`` is asked while nothing comes; the id that it gives is where the rest is to come from.
        Raises ``TimeoutError`` if the next frame does not come in time, ``BrokenImageError`` on an error
        frame; either breaks the connection, so that a short image never looks whole.
        """
        frame, complete, source = first, False, Source(first.id, first.meta.get("worker", ""))
        try:
            while frame.kind is Kind.DATA:
                yield frame.payload
                await self._tell(source.image_id, CREDIT)
                if strips := frame.meta.get("strips"):  # an older worker does not say
                    taken(frame.meta["at"][0] / strips)
                frame = await self._following(source, position(frame.meta["at"]), wait, carry_on)
            if frame.kind is Kind.ERROR:
                raise BrokenImageError(frame.meta["code"])
            complete = True
            yield frame.payload
        finally:
            await asyncio.shield(self._end(source.image_id, complete))

    async def _following(self, source: Source, end: Position, wait: float, carry_on: CarryOn) -> Frame:
        """The next frame; if its worker has died or a part is lost, the rest comes from another source."""
        until = time.monotonic() + wait
        while True:
            frame = await self._next(source.image_id, LOOK_SECONDS)
            is_lost = frame is not None and frame.meta.get("code") == GAP
            if frame is not None and not is_lost:
                source.worker = frame.meta.get("worker", source.worker)
                return frame
            if time.monotonic() > until:
                raise TimeoutError
            if is_lost:
                source.worker = NOBODY
            if source.worker and (other := await carry_on(source.worker, end)):
                await self.forget(source.image_id, complete=False)
                source.image_id, source.worker = other, ""

    async def _next(self, image_id: str, wait: float) -> Frame | None:
        try:
            return await asyncio.wait_for(self._waiting[image_id].get(), wait)
        except TimeoutError:
            return None

    async def _end(self, image_id: str, complete: bool) -> None:
        await self.forget(image_id, complete)
        if complete:
            with contextlib.suppress(RedisError):
                await self.redis.delete(keys.credits(image_id))

    async def read_forever(self) -> None:
        """The one reader: takes frames off this process's list as they come.

        A Redis that ended meanwhile may have had frames and credits that nobody will hear of: then every
        image that is awaited has a gap.
        """
        key, was_away = keys.replies(self.id), False
        while True:
            try:
                got = await cast(
                    Any,
                    self.redis.blmpop(BLOCK_SECONDS, 1, key, direction="LEFT", count=FRAMES_AT_ONCE),
                )
            except RedisError as error:
                log.warning("Redis: %s", error)
                was_away |= isinstance(error, NoConnectionError)
                await asyncio.sleep(0.5)
                continue
            if was_away:
                was_away = False
                for image_id in list(self._waiting):
                    self.deliver(Frame(image_id, Kind.ERROR, meta={"code": GAP}))
            for data in got[1] if got else ():
                try:
                    self.deliver(Frame.decode(data))
                except ValueError:
                    log.exception("dropped %d bytes that are no frame", len(data))

    async def _tell(self, image_id: str, word: bytes) -> None:
        key = keys.credits(image_id)
        async with self.redis.pipeline(transaction=False) as pipe:
            (pipe.lpush if word == GONE else pipe.rpush)(key, word)  # that it has left is heard first
            pipe.expire(key, REPLY_TTL)
            await pipe.execute()


def position(at: list[int]) -> Position:
    """Where a frame's bytes end, as a worker is told to go on."""
    strip, offset, adler = at
    return Position(strip=strip, offset=offset, adler=adler)


class BrokenImageError(Exception):
    """A worker gave an image up after its first bytes had gone out."""
