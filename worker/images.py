"""One batch of images: drawn, encoded, and its bytes sent back to the API that waits."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

from redis import Redis, RedisError
from structlog.contextvars import bound_contextvars

from contract import keys
from contract.messages import ImageBatch, Order, Position
from contract.stream import (
    CHUNK,
    FLUSH_SECONDS,
    GAP,
    GONE,
    LOOK_SECONDS,
    REPLY_TTL,
    STALL_SECONDS,
    WINDOW,
    Frame,
    Kind,
)
from model.rendering import strip_rows
from worker.ahead import ahead
from worker.encoders import encoder_for
from worker.engine import Engine, ModelGoneError
from worker.metrics import ORDERS, order_timed, stage
from worker.png import Piece

log = logging.getLogger(__name__)

WAIT_SECONDS = 1  # for a credit, before it is asked whether to stop


class ClientGoneError(Exception):
    """Whoever waited for the image has left, or takes nothing any more."""


class StoppingError(Exception):
    """This worker stops before the image is done; whoever waits for it will ask another one."""


def never() -> bool:
    """Of a worker that nobody stops."""
    return False


def draw_batch(
    batch: ImageBatch, engine: Engine, redis: Redis, worker: str, should_stop: Callable[[], bool] = never
) -> None:
    """Draws the batch and replies for each image; nothing is drawn after the deadline.

    ``redis`` is a client without ``decode_responses``, with time enough to wait for credits; ``worker`` is
    the name under which this process beats; ``should_stop`` tells to leave what is not done to another one.
    If a batch fails its images are drawn one by one, so that the one that cannot be drawn fails alone.
    """
    batch = batch.only({item.id for item in batch.items if time.time() < item.deadline})
    if not batch.items:
        ORDERS.labels(outcome="late").inc()
        return
    requests = " ".join(dict.fromkeys(item.request for item in batch.items))
    traces = [item.trace for item in batch.items]
    with order_timed(time.time() - batch.sent_at, traces), bound_contextvars(request_id=requests):
        _draw_in_time(batch, engine, redis, worker, should_stop)


def _draw_in_time(
    batch: ImageBatch, engine: Engine, redis: Redis, worker: str, should_stop: Callable[[], bool]
) -> None:
    tell_taken(redis, batch, worker)
    strips = -(-batch.rows.count // strip_rows(batch.columns.count))
    replies = [
        Reply(redis, batch, item.id, len(batch.items), worker, batch.position, strips, should_stop)
        for item in batch.items
    ]
    try:
        with answering(redis, batch, replies):
            _draw(batch, engine, replies)
    except RedisError:
        raise
    except Exception:
        log.exception("a batch of %d failed: its images are drawn one by one", len(replies))
        for item, reply in zip(batch.items, replies, strict=True):
            alone = batch.model_copy(update={"items": (item,), "position": reply.rewind()})
            with bound_contextvars(request_id=item.request), answering(redis, alone, [reply]):
                _draw(alone, engine, [reply])


def tell_taken(redis: Redis, order: Order, worker: str) -> None:
    """Says who begins with an order, so that it can be asked for again if that one dies."""
    _push(redis, order.reply_to, [Frame(order.id, Kind.TAKEN, meta={"worker": worker})])


@contextmanager
def answering(redis: Redis, order: Order, replies: list[Reply]) -> Iterator[None]:
    """Around the drawing of an order: every reply gets its end, whatever comes of it.

    What goes wrong with several at once is raised: they can be tried one by one. So is a Redis that is still
    away: whoever waits has seen it too, and will ask again.
    """
    outcome = "failed"
    try:
        yield
        _push(redis, order.reply_to, [reply.last() for reply in replies])
        outcome = "drawn"
    except ModelGoneError:
        outcome = "model_gone"
        _push(redis, order.reply_to, [reply.error("model_gone") for reply in replies])
    except ClientGoneError:
        outcome = "client_gone"
        log.info("nobody takes image %s any more", replies[0].id)
        replies[0].leave()
    except StoppingError:
        outcome = "stopping"
        log.info("%s of %d is left to another worker", type(order).__name__, len(replies))
    except RedisError:
        outcome = "redis_away"
        log.warning("Redis does not answer, what is left of %d is to be asked for again", len(replies))
        _push(redis, order.reply_to, [reply.error(GAP) for reply in replies])
    except Exception:
        if len(replies) > 1:
            raise
        log.exception("image %s failed", replies[0].id)
        _push(redis, order.reply_to, [replies[0].error("internal")])
    finally:
        ORDERS.labels(outcome=outcome).inc()
        log.debug("%s of %d: %s", type(order).__name__, len(replies), outcome)


def _draw(batch: ImageBatch, engine: Engine, replies: list[Reply]) -> None:
    model, form = engine.identity(batch.digest), batch.form
    encoders = [
        encoder_for(model, item.seed, item.truncation, batch.columns, batch.rows, form, batch.position)
        for item in batch.items
    ]
    seeds = [item.seed for item in batch.items]
    truncations = [item.truncation for item in batch.items]
    painted = engine.draw(
        batch.model, batch.digest, seeds, truncations, batch.columns, batch.rows, batch.position.strip
    )
    alone, done = len(replies) == 1, batch.position.strip * strip_rows(batch.columns.count)
    large = alone and batch.rows.count > strip_rows(batch.columns.count)
    for strip in ahead(painted) if large else painted:
        done += strip.shape[1]
        for encoder, reply, rows in zip(encoders, replies, strip, strict=True):
            with stage("encode"):
                piece = encoder.strip(rows)
            reply.write(piece, stream=alone and done < batch.rows.count)
    for encoder, reply in zip(encoders, replies, strict=True):
        with stage("encode"):
            piece = encoder.end()
        reply.write(piece)


class Reply:
    """The bytes of one image on their way: sent in chunks, at most ``WINDOW`` ahead of the client."""

    def __init__(
        self,
        redis: Redis,
        order: Order,
        image_id: str,
        together: int,
        worker: str,
        position: Position,
        strips: int,
        should_stop: Callable[[], bool] = never,
    ) -> None:
        self.redis, self.id, self.reply_to = redis, image_id, order.reply_to
        self.position, self.should_stop = position, should_stop
        self.strips = strips  # of the whole, so that the API knows what share is there
        self.meta: dict[str, Any] = {
            "queue": time.time() - order.sent_at, "batch": together, "worker": worker,
        }  # fmt: skip
        self.started = self.sent = self.looked = time.monotonic()
        self.buffer = bytearray()
        self.trail = Trail(position.offset)
        self.ahead = 0  # DATA frames that the client has not yet taken
        self.bytes = 0  # sent so far

    def write(self, piece: Piece, stream: bool = False) -> None:
        """Takes bytes and sends what fills a chunk. In a ``stream`` what has waited is sent too.

        Raises ``ClientGoneError`` if the client has said so, which a stream asks now and then, and
        ``StoppingError``.
        """
        self._heed_stop()
        self.buffer += piece.data[self.trail.add(piece) :]
        while len(self.buffer) > CHUNK:
            self._send(CHUNK)
        if stream:
            self._look()
            if self.buffer and time.monotonic() - self.sent > FLUSH_SECONDS:
                self._send(len(self.buffer))

    def last(self) -> Frame:
        """The image's last frame."""
        return Frame(self.id, Kind.LAST, bytes(self.buffer), self._told(), self.bytes)

    def error(self, code: str) -> Frame:
        """Instead of the image, or of the rest of it."""
        return Frame(self.id, Kind.ERROR, meta={"code": code})

    def rewind(self) -> Position:
        """Forgets what is not sent, to be drawn again from the position it gives."""
        self.buffer.clear()
        self.trail = Trail(self.position.offset)
        return self.position

    def leave(self) -> None:
        """Takes away what a client that has left would have paid."""
        self.redis.delete(keys.credits(self.id))

    def _send(self, count: int) -> None:
        self._await_credit()
        strip, offset, adler = at = self.trail.advance(count)
        meta = self._told() | {"at": at, "strips": self.strips}
        frame = Frame(self.id, Kind.DATA, bytes(self.buffer[:count]), meta, self.bytes)
        _push(self.redis, self.reply_to, [frame])
        self.position = Position(strip=strip, offset=offset, adler=adler)
        del self.buffer[:count]
        self.bytes += count
        self.ahead += 1
        self.sent = time.monotonic()

    def _told(self) -> dict[str, Any]:
        meta, self.meta = self.meta, {}
        return meta | {"render": time.monotonic() - self.started} if meta else {}

    def _look(self) -> None:
        """Raises ``ClientGoneError`` if the client has said that it leaves; asks now and then."""
        if time.monotonic() - self.looked < LOOK_SECONDS:
            return
        self.looked = time.monotonic()
        if self.redis.lindex(keys.credits(self.id), 0) == GONE:
            raise ClientGoneError(self.id)

    def _await_credit(self) -> None:
        if self.ahead < WINDOW:
            return
        key, until = keys.credits(self.id), time.monotonic() + STALL_SECONDS
        while time.monotonic() < until:
            self._heed_stop()
            with stage("credit"):
                credit = cast("tuple[bytes, bytes] | None", self.redis.blpop([key], timeout=WAIT_SECONDS))
            if credit is not None and credit[1] == GONE:
                break
            if credit is not None:
                self.ahead -= 1
                return
        raise ClientGoneError(self.id)

    def _heed_stop(self) -> None:
        if self.should_stop():
            raise StoppingError(self.id)


class Trail:
    """Which strip the next byte to be sent belongs to, and how far in it lies."""

    def __init__(self, offset: int) -> None:
        self.offset = self._skip = offset
        self.left: deque[Piece] = deque()

    def add(self, piece: Piece) -> int:
        """One more strip's bytes; gives how many of them are there already."""
        self.left.append(piece)
        skip, self._skip = self._skip, 0
        return skip

    def advance(self, count: int) -> list[int]:
        """That many bytes are sent: [strip, offset, checksum before it] of the next one.

        What follows a strip that is sent whole is the offset behind it: the strip is made once more, and
        nothing of it sent.
        """
        self.offset += count
        while len(self.left) > 1 and self.offset >= len(self.left[0].data):
            self.offset -= len(self.left.popleft().data)
        return [self.left[0].strip, self.offset, self.left[0].adler]


def _push(redis: Redis, reply_to: str, frames: list[Frame]) -> None:
    key = keys.replies(reply_to)
    with stage("reply"), redis.pipeline(transaction=False) as pipe:
        pipe.rpush(key, *(frame.encode() for frame in frames))
        pipe.expire(key, REPLY_TTL)
        pipe.execute()
