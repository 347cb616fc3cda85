"""Frames from the workers, read by one task of this process and handed to the requests that wait."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import uuid
from collections.abc import AsyncIterator
from typing import Any, cast

from redis.asyncio import Redis
from redis.exceptions import RedisError

from contract import keys
from contract.stream import CREDIT, GONE, REPLY_TTL, Frame, Kind

log = logging.getLogger(__name__)

FRAMES_AT_ONCE = 64
BLOCK_SECONDS = 5


class Replies:
    """The mailbox of this API process: an id of its own, and a queue for each image that is awaited.

    ``redis`` must be patient enough to block, and is used for nothing else but credits.
    """

    def __init__(self, redis: Redis) -> None:
        self.redis = redis
        self.id = uuid.uuid4().hex
        self._waiting: dict[str, asyncio.Queue[Frame]] = {}

    def __len__(self) -> int:
        """Images that are awaited."""
        return len(self._waiting)

    def expect(self, image_id: str) -> asyncio.Queue[Frame]:
        """From now on, frames of that image are kept."""
        queue: asyncio.Queue[Frame] = asyncio.Queue()
        self._waiting[image_id] = queue
        return queue

    def deliver(self, frame: Frame) -> None:
        """Hands a frame to whoever waits for it; if nobody does, it is dropped."""
        queue = self._waiting.get(frame.id)
        if queue is not None:
            queue.put_nowait(frame)

    async def forget(self, image_id: str, complete: bool) -> None:
        """Nobody waits any more; an image that is not complete is stopped where it is drawn."""
        self._waiting.pop(image_id, None)
        if not complete:
            with contextlib.suppress(RedisError):
                await self._tell(image_id, GONE)

    async def chunks(self, image_id: str, first: Frame, wait: float) -> AsyncIterator[bytes]:
        """The image's bytes from its first frame on, each chunk paid for with a credit when taken.

        Raises ``TimeoutError`` if the next one does not come in time, ``BrokenImageError`` on an error
        frame; either breaks the connection, so that a short image never looks whole.
        """
        queue = self._waiting[image_id]
        frame, complete = first, False
        try:
            while frame.kind is Kind.DATA:
                yield frame.payload
                await self._tell(image_id, CREDIT)
                frame = await asyncio.wait_for(queue.get(), wait)
            if frame.kind is Kind.ERROR:
                raise BrokenImageError(frame.meta["code"])
            complete = True
            yield frame.payload
        finally:
            await asyncio.shield(self.forget(image_id, complete))

    async def read_forever(self) -> None:
        """The one reader: takes frames off this process's list as they come."""
        key = keys.replies(self.id)
        while True:
            try:
                got = await cast(
                    Any,
                    self.redis.blmpop(BLOCK_SECONDS, 1, key, direction="LEFT", count=FRAMES_AT_ONCE),
                )
            except RedisError as error:
                log.warning("Redis: %s", error)
                await asyncio.sleep(0.5)
                continue
            for data in got[1] if got else ():
                try:
                    self.deliver(Frame.decode(data))
                except ValueError:
                    log.exception("dropped %d bytes that are no frame", len(data))

    async def _tell(self, image_id: str, word: bytes) -> None:
        key = keys.credits(image_id)
        async with self.redis.pipeline(transaction=False) as pipe:
            pipe.rpush(key, word)
            pipe.expire(key, REPLY_TTL)
            await pipe.execute()


class BrokenImageError(Exception):
    """A worker gave an image up after its first bytes had gone out."""
