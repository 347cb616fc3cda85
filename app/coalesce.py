"""Requests that arrive together are drawn together: one message and one forward pass for all of them.

An image that finds the workers idle is asked for at once. While they draw, images of one model and size wait
``gather_seconds`` for each other, and longer while the workers have all they can draw: then the next batch is
as large as what has come meanwhile. Which images meet in a batch changes nothing in any of them, only how
soon they come.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from app.errors import Unavailable
from app.replies import Replies
from contract.messages import (
    BEGINNING,
    COLOUR_PNG,
    Composition,
    Form,
    Grid,
    ImageBatch,
    ImageItem,
    Order,
    Position,
    Side,
    Walk,
)
from contract.stream import Frame, Kind

log = logging.getLogger(__name__)

BATCH_PIXELS = 2**22  # of all images of a batch
ALONE_PIXELS = 2**18  # a larger image is a batch of its own: it needs credits, and must wait for no other

BATCHES_PER_WORKER = 2  # unanswered at a time: one is drawn, one is there when it is done

Publish = Callable[[Order], Awaitable[None]]


@dataclass(frozen=True)
class Shape:
    """What the images of a batch share."""

    model: str
    digest: str
    columns: Side
    rows: Side
    form: Form = COLOUR_PNG

    @property
    def pixels(self) -> int:
        """Of one image."""
        return self.columns.count * self.rows.count


@dataclass
class Gathering:
    """Images of one shape that wait to be sent."""

    due: bool = False  # has waited long enough, or is a full batch
    items: list[ImageItem] = field(default_factory=list)


class Coalescer:
    """Gathers images into batches, publishes them, and waits for each image's first frame."""

    def __init__(
        self,
        replies: Replies,
        publish: Publish,
        workers: Callable[[], int],
        *,
        gather_seconds: float,
        max_batch: int,
        max_waiting: int,
        max_waiting_pixels: int,
        answer_seconds: float,
    ) -> None:
        self.replies, self.publish, self.workers = replies, publish, workers
        self.gather_seconds, self.max_batch = gather_seconds, max_batch
        self.max_waiting, self.max_waiting_pixels = max_waiting, max_waiting_pixels
        self.answer_seconds = answer_seconds
        self._gathering: dict[Shape, Gathering] = {}
        self._unanswered: dict[str, set[str]] = {}  # batch -> its images that have had no frame yet
        self._batch_of: dict[str, str] = {}  # image -> its batch
        self._sending: set[asyncio.Task[None]] = set()

    async def submit(self, shape: Shape, seed: int, truncation: float) -> Frame:
        """Asks for one image; gives its first frame (``replies.chunks`` has the rest).

        Raises ``Unavailable`` if too many wait already, nothing can be queued, or no answer comes.
        """
        item = ImageItem(id=uuid.uuid4().hex, seed=seed, truncation=truncation)
        return await self._first(item.id, shape.pixels, lambda: self._gather(shape, item))

    async def compose(self, model: str, digest: str, what: Grid | Walk) -> Frame:
        """The same for one file of several seeds, which is gathered with nothing."""
        order_id = uuid.uuid4().hex
        sending = partial(self._compose, order_id, model, digest, what, BEGINNING)
        return await self._first(order_id, what.pixels, lambda: self._soon(sending()))

    async def _first(self, order_id: str, pixels: int, ask: Callable[[], None]) -> Frame:
        """Asks, if there is room for so many pixels more, and waits for the first frame."""
        if len(self.replies) >= self.max_waiting:
            raise Unavailable(f"{self.max_waiting} images are waiting already: try again later")
        if self.replies.pixels and self.replies.pixels + pixels > self.max_waiting_pixels:
            raise Unavailable(
                f"{self.replies.pixels} pixels are waiting already, of {self.max_waiting_pixels}: "
                "try again later, or ask for a smaller image",
                retry_after=10,
            )
        queue = self.replies.expect(order_id, pixels)
        answered = False
        try:
            ask()
            first = await asyncio.wait_for(queue.get(), self.answer_seconds)
            answered = True
        except TimeoutError:
            raise Unavailable("no worker answered in time: try again, or ask for a smaller image") from None
        finally:
            self._answered(order_id)
            if not answered:
                await asyncio.shield(self.replies.forget(order_id, complete=False))
        return first

    def _gather(self, shape: Shape, item: ImageItem) -> None:
        waiting = self._gathering.get(shape)
        if waiting is None:
            waiting = self._gathering[shape] = Gathering()
            # Who finds the workers idle waits for nobody; what comes while they draw is gathered.
            delay = self.gather_seconds if self._unanswered else 0
            asyncio.get_running_loop().call_later(delay, self._make_due, waiting)
        waiting.items.append(item)
        if len(waiting.items) >= self._full(shape):
            self._make_due(waiting)

    def _make_due(self, waiting: Gathering) -> None:
        waiting.due = True
        self._send_due()

    def _full(self, shape: Shape) -> int:
        """Images of one batch at most."""
        return 1 if shape.pixels > ALONE_PIXELS else min(self.max_batch, BATCH_PIXELS // shape.pixels)

    def _send_due(self) -> None:
        """Sends what has waited long enough, oldest shape first, while the workers can take more."""
        for shape, waiting in list(self._gathering.items()):
            while waiting.items and waiting.due:
                if len(self._unanswered) >= BATCHES_PER_WORKER * max(1, self.workers()):
                    return
                full = self._full(shape)
                self._send(shape, waiting.items[:full])
                del waiting.items[:full]
            if not waiting.items:
                del self._gathering[shape]

    def _send(self, shape: Shape, items: list[ImageItem]) -> None:
        batch_id = items[0].id
        self._unanswered[batch_id] = {item.id for item in items}
        self._batch_of.update((item.id, batch_id) for item in items)
        self._soon(self._publish(shape, items))

    def _soon(self, sending: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(sending)
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    def _answered(self, image_id: str) -> None:
        """The image had its first frame, or nobody waits for it; perhaps the next batch can go."""
        batch_id = self._batch_of.pop(image_id, None)
        if batch_id is None:
            return
        self._unanswered[batch_id].discard(image_id)
        if not self._unanswered[batch_id]:
            del self._unanswered[batch_id]
            self._send_due()

    async def carry_on(self, shape: Shape, seed: int, truncation: float, position: Position) -> str:
        """Asks for the rest of an image that its worker will not finish; gives the id of the rest."""
        item = ImageItem(id=uuid.uuid4().hex, seed=seed, truncation=truncation)
        self.replies.expect(item.id, shape.pixels)
        await self._publish(shape, [item], position)
        return item.id

    async def carry_on_composition(
        self, model: str, digest: str, what: Grid | Walk, position: Position
    ) -> str:
        """The same for one file of several seeds."""
        order_id = uuid.uuid4().hex
        self.replies.expect(order_id, what.pixels)
        await self._compose(order_id, model, digest, what, position)
        return order_id

    async def _publish(self, shape: Shape, items: list[ImageItem], position: Position = BEGINNING) -> None:
        batch = ImageBatch(
            model=shape.model,
            digest=shape.digest,
            columns=shape.columns,
            rows=shape.rows,
            form=shape.form,
            items=tuple(items),
            position=position,
            **self._address(),
        )
        await self._queue(batch, [item.id for item in items])

    async def _compose(
        self, order_id: str, model: str, digest: str, what: Grid | Walk, position: Position
    ) -> None:
        order = Composition(
            id=order_id, model=model, digest=digest, what=what, position=position, **self._address()
        )
        await self._queue(order, [order_id])

    def _address(self) -> dict[str, Any]:
        now = time.time()
        return {"reply_to": self.replies.id, "sent_at": now, "deadline": now + self.answer_seconds}

    async def _queue(self, order: Order, ids: list[str]) -> None:
        try:
            await self.publish(order)
        except Exception:
            log.exception("%s of %d could not be queued", type(order).__name__, len(ids))
            for order_id in ids:
                self.replies.deliver(Frame(order_id, Kind.ERROR, meta={"code": "not_queued"}))
