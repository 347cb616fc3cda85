"""Orders whose worker died before anything of them came are given to another one.

A worker says that it takes an order; if it stops beating, the order is queued again. So is one that nobody
takes though the queue is empty: it was lost between queue and worker. Drawing twice does no harm, as the
bytes are the same and those that nobody waits for are dropped.
"""

from __future__ import annotations

import asyncio
import logging
import time

from redis import Redis, RedisError

from app.coalesce import Coalescer, Sent
from app.metrics import ORDERS_RESCUED
from contract.presence import beats
from contract.queue import GENERATE, image_queue

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
YOUNG_SECONDS = 2.0  # an order is not looked after before


class Rescue:
    """Looks after the orders of one coalescer."""

    def __init__(self, coalescer: Coalescer, redis: Redis) -> None:
        self.coalescer, self.redis = coalescer, redis

    async def look_forever(self) -> None:
        """``look``, again and again; a Redis that is away is waited for."""
        while True:
            try:
                await self.look()
            except (RedisError, OSError) as error:
                log.warning("orders are not looked after while Redis is away: %s", error)
            await asyncio.sleep(LOOK_SECONDS)

    async def look(self) -> None:
        """Once."""
        now = time.monotonic()
        for sent in [sent for sent in self.coalescer.sent.values() if now - sent.asked > YOUNG_SECONDS]:
            if await asyncio.to_thread(self._is_lost, sent, now):
                log.warning("order %s was lost with its worker, asked for again", sent.order.id)
                ORDERS_RESCUED.inc()
                await self.coalescer.ask_again(sent, 2 * sent.patience)

    def _is_lost(self, sent: Sent, now: float) -> bool:
        if sent.worker:
            return not beats(self.redis, GENERATE, sent.worker)
        return now - sent.asked > sent.patience and not self.redis.llen(image_queue(sent.order.arithmetic))
