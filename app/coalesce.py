"""Requests that arrive together are drawn together: one message and one forward pass for all of them.

Images of one model and size wait ``gather_seconds`` for each other. Which of them meet in a batch
changes nothing in any image, only how soon it comes.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from app.errors import Unavailable
from app.replies import Replies
from contract.messages import ImageBatch, ImageItem
from contract.stream import Frame, Kind

log = logging.getLogger(__name__)

BATCH_PIXELS = 2**22  # of all images of a batch
ALONE_PIXELS = 2**18  # a larger image is a batch of its own: it needs credits, and must wait for no other

Publish = Callable[[ImageBatch], Awaitable[None]]


@dataclass(frozen=True)
class Shape:
    """What the images of a batch share."""

    model: str
    digest: str
    width: int
    height: int


class Coalescer:
    """Gathers images into batches, publishes them, and waits for each image's first frame."""

    def __init__(
        self,
        replies: Replies,
        publish: Publish,
        *,
        gather_seconds: float,
        max_batch: int,
        max_waiting: int,
        answer_seconds: float,
    ) -> None:
        self.replies, self.publish = replies, publish
        self.gather_seconds, self.max_batch = gather_seconds, max_batch
        self.max_waiting, self.answer_seconds = max_waiting, answer_seconds
        self._gathering: dict[Shape, list[ImageItem]] = {}
        self._sending: set[asyncio.Task[None]] = set()

    async def submit(self, shape: Shape, seed: int, truncation: float) -> Frame:
        """Asks for one image; gives its first frame (``replies.chunks`` has the rest).

        Raises ``Unavailable`` if too many wait already, nothing can be queued, or no answer comes.
        """
        if len(self.replies) >= self.max_waiting:
            raise Unavailable(f"{self.max_waiting} images are waiting already: try again later")
        item = ImageItem(id=uuid.uuid4().hex, seed=seed, truncation=truncation)
        queue = self.replies.expect(item.id)
        answered = False
        try:
            self._gather(shape, item)
            first = await asyncio.wait_for(queue.get(), self.answer_seconds)
            answered = True
        except TimeoutError:
            raise Unavailable("no worker answered in time: try again, or ask for a smaller image") from None
        finally:
            if not answered:
                await asyncio.shield(self.replies.forget(item.id, complete=False))
        return first

    def _gather(self, shape: Shape, item: ImageItem) -> None:
        pixels = shape.width * shape.height
        full = 1 if pixels > ALONE_PIXELS else min(self.max_batch, BATCH_PIXELS // pixels)
        batch = self._gathering.setdefault(shape, [])
        batch.append(item)
        if len(batch) >= full:
            self._send(shape, batch)
        elif len(batch) == 1:
            loop = asyncio.get_running_loop()
            loop.call_later(self.gather_seconds, self._send, shape, batch)

    def _send(self, shape: Shape, batch: list[ImageItem]) -> None:
        if self._gathering.get(shape) is not batch:
            return  # it was full before its time was up
        del self._gathering[shape]
        task = asyncio.get_running_loop().create_task(self._publish(shape, batch))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def _publish(self, shape: Shape, items: list[ImageItem]) -> None:
        now = time.time()
        batch = ImageBatch(
            reply_to=self.replies.id,
            model=shape.model,
            digest=shape.digest,
            width=shape.width,
            height=shape.height,
            items=tuple(items),
            sent_at=now,
            deadline=now + self.answer_seconds,
        )
        try:
            await self.publish(batch)
        except Exception:
            log.exception("a batch of %d images could not be queued", len(items))
            for item in items:
                self.replies.deliver(Frame(item.id, Kind.ERROR, meta={"code": "not_queued"}))
