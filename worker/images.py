"""One batch of images: drawn, encoded, and its bytes sent back to the API that waits."""

from __future__ import annotations

import logging
import time
from typing import Any, cast

from redis import Redis

from contract import keys
from contract.messages import ImageBatch, ImageItem
from contract.stream import CHUNK, GONE, REPLY_TTL, STALL_SECONDS, WINDOW, Frame, Kind
from worker.engine import Engine, ModelGoneError
from worker.png import image_encoder

log = logging.getLogger(__name__)


class ClientGoneError(Exception):
    """Whoever waited for the image has left, or takes nothing any more."""


def draw_batch(batch: ImageBatch, engine: Engine, redis: Redis) -> None:
    """Draws the batch and replies for each image; nothing is drawn after the deadline.

    ``redis`` is a client without ``decode_responses``, with time enough to wait for credits.
    """
    started = time.time()
    if started > batch.deadline:
        return
    replies = [Reply(redis, batch, item, started) for item in batch.items]
    try:
        _draw(batch, engine, replies)
    except ModelGoneError:
        _push(redis, batch.reply_to, [reply.error("model_gone") for reply in replies])
    except ClientGoneError:
        log.info("nobody takes image %s any more", replies[0].id)
    except Exception:
        log.exception("batch of %d at %dx%d failed", len(batch.items), batch.width, batch.height)
        _push(redis, batch.reply_to, [reply.error("internal") for reply in replies])
    else:
        _push(redis, batch.reply_to, [reply.last() for reply in replies])


def _draw(batch: ImageBatch, engine: Engine, replies: list[Reply]) -> None:
    encoders = [
        image_encoder(batch.digest, item.seed, batch.width, batch.height, item.truncation)
        for item in batch.items
    ]
    seeds = [item.seed for item in batch.items]
    truncations = [item.truncation for item in batch.items]
    painted = engine.draw(batch.model, batch.digest, seeds, truncations, batch.width, batch.height)
    for strip in painted:
        for encoder, reply, rows in zip(encoders, replies, strip, strict=True):
            reply.write(encoder.strip(rows))
    for encoder, reply in zip(encoders, replies, strict=True):
        reply.write(encoder.end())


class Reply:
    """The bytes of one image on their way: sent in chunks, at most ``WINDOW`` ahead of the client."""

    def __init__(self, redis: Redis, batch: ImageBatch, item: ImageItem, started: float) -> None:
        self.redis, self.id, self.reply_to = redis, item.id, batch.reply_to
        self.started = started
        self.meta: dict[str, Any] = {"queue": started - batch.sent_at, "batch": len(batch.items)}
        self.buffer = bytearray()
        self.ahead = 0  # DATA frames that the client has not yet taken

    def write(self, data: bytes) -> None:
        """Takes bytes; sends what fills a chunk. Raises ``ClientGoneError``."""
        self.buffer += data
        while len(self.buffer) > CHUNK:
            self._await_credit()
            _push(self.redis, self.reply_to, [self._frame(Kind.DATA, bytes(self.buffer[:CHUNK]))])
            del self.buffer[:CHUNK]
            self.ahead += 1

    def last(self) -> Frame:
        """The image's last frame."""
        return self._frame(Kind.LAST, bytes(self.buffer))

    def error(self, code: str) -> Frame:
        """Instead of the image, or of the rest of it."""
        return Frame(self.id, Kind.ERROR, meta={"code": code})

    def _frame(self, kind: Kind, payload: bytes) -> Frame:
        if self.meta:
            self.meta["render"] = time.time() - self.started
        meta, self.meta = self.meta, {}
        return Frame(self.id, kind, payload, meta)

    def _await_credit(self) -> None:
        if self.ahead < WINDOW:
            return
        key = keys.credits(self.id)
        credit = cast("tuple[bytes, bytes] | None", self.redis.blpop([key], timeout=STALL_SECONDS))
        if credit is None or credit[1] == GONE:
            raise ClientGoneError(self.id)
        self.ahead -= 1


def _push(redis: Redis, reply_to: str, frames: list[Frame]) -> None:
    key = keys.replies(reply_to)
    with redis.pipeline(transaction=False) as pipe:
        pipe.rpush(key, *(frame.encode() for frame in frames))
        pipe.expire(key, REPLY_TTL)
        pipe.execute()
