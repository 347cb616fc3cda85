"""Looks after lost workers, doorbells that nobody heard and old jobs, in one API process at a time."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid

from celery import Celery
from kombu.exceptions import OperationalError
from redis import RedisError

from app.metrics import LEASES_EXPIRED, RUNG_AGAIN
from app.services import Fleet
from contract.job_machine import LEASE_SECONDS
from contract.jobs import JobStore
from contract.queue import DOORBELLS

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
TERM_SECONDS = 5.0  # another process takes over so long after this one's last look
GRACE_SECONDS = LEASE_SECONDS  # after Redis was away, for workers to say that they have lived through it


class Reaper:
    """Rings Celery for what the job machine says is due."""

    def __init__(self, jobs: JobStore, celery: Celery, fleet: Fleet) -> None:
        self.jobs, self.celery, self.fleet = jobs, celery, fleet
        self.id = uuid.uuid4().hex
        self._grace_ends = 0.0

    def look(self) -> None:
        """Once, if it is this process's turn."""
        if not self.jobs.elect(self.id, TERM_SECONDS):
            return
        if time.monotonic() >= self._grace_ends:
            for job_id in self.jobs.reap():
                LEASES_EXPIRED.inc()
                log.warning("job %s: its worker was lost", job_id)
        for job_id, kind in self.jobs.due_rings():
            if self._too_few(kind):
                RUNG_AGAIN.inc()
                self.celery.send_task(DOORBELLS[kind], (job_id,), queue=self.fleet.job_queue(kind))
        self.jobs.forget()
        if trimmed := self.jobs.trim():
            log.info("%d old jobs of owners with many are forgotten", len(trimmed))

    def _too_few(self, kind: str) -> bool:
        """Whether fewer messages than jobs wait; where workers are only busy, no more are piled up."""
        return self.jobs.redis.llen(self.fleet.job_queue(kind)) < self.jobs.count_queued(kind)

    async def look_forever(self) -> None:
        """``look``, again and again; a Redis that is away is waited for, and no lease ends with it."""
        while True:
            try:
                await asyncio.to_thread(self.look)
            except (RedisError, OperationalError, OSError) as error:
                self._grace_ends = time.monotonic() + GRACE_SECONDS
                log.warning("the reaper waits for Redis: %s", error)
            await asyncio.sleep(LOOK_SECONDS)
