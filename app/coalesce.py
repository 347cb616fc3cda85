"""Requests that arrive together are drawn together: one message and one forward pass for all of them.

An image that finds the workers idle is asked for at once. While they draw, images of one model and size wait
``gather_seconds`` for each other, and longer while the workers have all they can draw: then what has come
meanwhile is shared out evenly. Clients take turns (app/turns.py). Which images meet in a batch changes
nothing in any of them, only how soon they come.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from app.errors import Unavailable
from app.metrics import BATCH_IMAGES, IMAGES_CARRIED_ON
from app.orders import Key
from app.replies import Replies
from app.turns import Turns
from contract.logs import bound
from contract.messages import ImageItem, Order, Position
from contract.presence import ALIVE_SECONDS
from contract.stream import GAP, Frame, Kind
from contract.traces import traceparent

log = logging.getLogger(__name__)

BATCHES_PER_WORKER = 2  # unanswered at a time: one is drawn, one is there when it is done
# Large images keep a worker's slot (it has 8) until their client has taken them; small ones need some too,
# and so does the next client.
LARGE_PER_WORKER, LARGE_PER_CLIENT = 6, 3

Publish = Callable[[Order], Awaitable[None]]


@dataclass
class Sent:
    """An order that a worker has been asked for, and what of it has not begun to come."""

    order: Order
    open: set[str]  # its images that have had no frame yet
    worker: str = ""  # who has taken it; '' while nobody says so
    asked: float = field(default_factory=time.monotonic)  # when it was queued, the last time
    patience: float = ALIVE_SECONDS  # how long it may lie untaken


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
        answer_seconds: float,
    ) -> None:
        self.replies, self.publish, self.workers = replies, publish, workers
        self.gather_seconds, self.max_batch = gather_seconds, max_batch
        self.answer_seconds = answer_seconds
        self.sent: dict[str, Sent] = {}  # by order
        self._turns: Turns[Key, ImageItem] = Turns()
        self._order_of: dict[str, str] = {}  # image -> its order
        self._large: dict[str, str] = {}  # large image under way -> its client
        self._sending: set[asyncio.Task[None]] = set()
        replies.on_taken, replies.on_forgotten = self._taken, self._forgotten

    @property
    def gathering(self) -> int:
        """Images that wait to be sent to a worker."""
        return len(self._turns)

    def oldest(self) -> float:
        """Age in seconds of the oldest order that nobody has begun to answer; 0 if there is none."""
        now = time.monotonic()
        return max((now - sent.asked for sent in list(self.sent.values())), default=0.0)

    async def submit(
        self, key: Key, seed: int, truncation: float, client: str, wait: float | None = None
    ) -> Frame:
        """Asks for one image (or a file of several, named by its first seed); gives its first frame.

        ``replies.chunks`` has the rest. Raises ``Unavailable`` if nothing comes in time: ``wait`` seconds,
        or what the service allows if that is less.
        """
        seconds = min(wait or self.answer_seconds, self.answer_seconds)
        until = time.monotonic() + seconds
        try:
            while True:
                first = await self._first(key, seed, truncation, client, until - time.monotonic())
                if first.meta.get("code") != GAP:
                    return first
                await self.replies.forget(first.id, complete=False)  # Redis lost it: once more
        except TimeoutError:
            raise Unavailable(
                f"no worker answered within {seconds:g} s: try again, or ask for a smaller image",
                reason="no_answer",
            ) from None

    async def _first(self, key: Key, seed: int, truncation: float, client: str, seconds: float) -> Frame:
        """Asks once, and waits so long."""
        item = self._item(seed, truncation, seconds)
        queue = self.replies.expect(item.id)
        answered = False
        try:
            self._gather(client, key, item)
            first = await asyncio.wait_for(queue.get(), seconds)
            answered = True
        finally:
            self._answered(item.id)
            if self._turns.remove(item.id) and not answered:
                self.replies.drop(item.id)  # no worker has heard of it
            elif not answered:
                await asyncio.shield(self.replies.forget(item.id, complete=False))
        return first

    async def carry_on(self, key: Key, seed: int, truncation: float, position: Position) -> str:
        """Asks for the rest of what its worker will not finish; gives the id of the rest."""
        item = self._item(seed, truncation, self.answer_seconds)
        IMAGES_CARRIED_ON.inc()
        self.replies.expect(item.id)
        try:
            await self._publish(key.order([item], position, **self._address([item])))
        except asyncio.CancelledError:  # the client has left meanwhile
            await asyncio.shield(self.replies.forget(item.id, complete=False))
            raise
        return item.id

    async def ask_again(self, sent: Sent, patience: float) -> None:
        """Queues an order once more, less what has come of it: a worker was lost with it."""
        left = sent.order.only(sent.open)
        sent.worker, sent.asked, sent.patience = "", time.monotonic(), patience
        await self._publish(left)

    @staticmethod
    def _item(seed: int, truncation: float, seconds: float) -> ImageItem:
        return ImageItem(
            id=uuid.uuid4().hex, seed=seed, truncation=truncation, deadline=time.time() + seconds,
            request=bound("request_id"), trace=traceparent(),
        )  # fmt: skip

    def _gather(self, client: str, key: Key, item: ImageItem) -> None:
        if not self._turns.count(key):
            # Who finds the workers idle waits for nobody; what comes while they draw is gathered.
            delay = self.gather_seconds if self.sent else 0
            asyncio.get_running_loop().call_later(delay, self._make_due, key)
        self._turns.add(client, key, item.id, item)
        if self._turns.count(key) >= key.full(self.max_batch):
            self._make_due(key)

    def _make_due(self, key: Key) -> None:
        self._turns.make_due(key)
        self._send_due()

    def _send_due(self) -> None:
        """Sends what has waited long enough, client by client, while the workers can take more."""
        workers = max(1, self.workers())
        of_client = Counter(self._large.values())

        def may(client: str, key: Key) -> bool:
            return not key.alone or (
                len(self._large) < LARGE_PER_WORKER * workers
                and of_client[client] < LARGE_PER_CLIENT * workers
            )

        while (room := BATCHES_PER_WORKER * workers - len(self.sent)) > 0:
            # What waits is shared out evenly: of two batches side by side the larger one keeps both waiting.
            taken = self._turns.take(
                lambda key: min(key.full(self.max_batch), -(-self._turns.count(key) // room)), may
            )
            if taken is None:
                return
            client, key, items = taken
            if key.alone:
                self._large[items[0].id] = client
                of_client[client] += 1
            self._send(key, items)

    def _send(self, key: Key, items: list[ImageItem]) -> None:
        BATCH_IMAGES.observe(len(items))
        order = key.order(items, **self._address(items))
        self.sent[order.id] = Sent(order, {item.id for item in items})
        self._order_of.update((item.id, order.id) for item in items)
        self._soon(self._publish(order))

    def _address(self, items: list[ImageItem]) -> dict[str, Any]:
        latest = max(item.deadline for item in items)
        return {"reply_to": self.replies.id, "sent_at": time.time(), "deadline": latest}

    def _soon(self, sending: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(sending)
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def _publish(self, order: Order) -> None:
        try:
            await self.publish(order)
        except Exception:
            log.exception("%s of %d could not be queued", type(order).__name__, len(order.images))
            for image_id in order.images:
                self.replies.deliver(Frame(image_id, Kind.ERROR, meta={"code": "not_queued"}))

    def _taken(self, order_id: str, worker: str) -> None:
        """A worker says that it begins with an order."""
        if sent := self.sent.get(order_id):
            sent.worker = worker

    def _answered(self, image_id: str) -> None:
        """The image had its first frame, or nobody waits for it; perhaps the next batch can go."""
        order_id = self._order_of.pop(image_id, None)
        if order_id is None:
            return
        sent = self.sent[order_id]
        sent.open.discard(image_id)
        if not sent.open:
            del self.sent[order_id]
            self._send_due()

    def _forgotten(self, image_id: str) -> None:
        """Nothing more comes of an image; a large one has left its slot."""
        if self._large.pop(image_id, None) is not None:
            self._send_due()
