"""What the routes work with, made once a process by the lifespan and kept on ``app.state``."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Annotated, cast

from celery import Celery
from fastapi import Depends, Request
from redis import Redis, RedisError
from redis.asyncio import Redis as AsyncRedis

from app.admission import Gate
from app.coalesce import Coalescer
from app.errors import REDIS_AWAY, NotFound, Unavailable
from app.replies import Replies
from app.settings import AppSettings
from contract.jobs import JobStore
from contract.models import ModelLibrary, PublishedModel
from contract.presence import alive, other_versions
from contract.promotion import Promotion
from contract.queue import GENERATE, TRAIN
from contract.versions import TOGETHER

LOOK_SECONDS = 1.0


@dataclass
class Fleet:
    """Who is alive, looked at once a second."""

    redis: Redis
    bytes_redis: Redis
    redis_answers: bool = False
    workers: dict[str, int] = field(default_factory=dict)
    others: list[str] = field(default_factory=list)  # versions of workers that are not asked

    def missing(self) -> list[str]:
        """What keeps images from being drawn, as sentences; empty when all is well."""
        if not self.redis_answers:
            return [REDIS_AWAY]
        if not self.workers.get(GENERATE) and any(one.startswith(f"{GENERATE}:") for one in self.others):
            return [
                f"no image worker of version {TOGETHER} is running, which this API needs, but there are "
                f"{', '.join(self.others)}: start workers and API from the same release"
            ]
        if not self.workers.get(GENERATE):
            return ["no image worker is running: start one with `vitgan worker`, or wait for it"]
        return []

    def look(self) -> None:
        """Asks Redis for the workers that have beaten lately."""
        try:
            self.workers = {queue: alive(self.redis, queue) for queue in (GENERATE, TRAIN)}
            self.others = other_versions(self.redis)
            self.bytes_redis.ping()
            self.redis_answers = True
        except RedisError:
            self.workers, self.others, self.redis_answers = {}, [], False

    async def look_forever(self) -> None:
        """``look``, again and again."""
        while True:
            await asyncio.to_thread(self.look)
            await asyncio.sleep(LOOK_SECONDS)


@dataclass(frozen=True)
class Services:
    """Everything a route may need."""

    settings: AppSettings
    library: ModelLibrary
    promotion: Promotion
    jobs: JobStore
    events: AsyncRedis  # what readers of jobs' events look through
    celery: Celery
    fleet: Fleet
    replies: Replies
    coalescer: Coalescer
    gate: Gate

    def model(self, name: str) -> PublishedModel:
        """The model of that name, or the one that ``default`` names; raises ``NotFound``."""
        wanted = self.promotion.name if name == "default" else name
        try:
            return self.library.get(wanted)
        except KeyError:
            which = repr(wanted) if wanted == name else f"{wanted!r}, which `default` names"
            raise NotFound(f"there is no model {which}: GET /models lists what there is") from None

    def require_fleet(self) -> None:
        """Raises ``Unavailable`` if images cannot be drawn now."""
        if missing := self.fleet.missing():
            raise Unavailable(missing[0], reason="no_worker" if self.fleet.redis_answers else "redis_away")


async def _services(request: Request) -> Services:
    """Async, as what asks nobody should be: FastAPI gives anything else a thread, which takes longer."""
    return cast(Services, request.app.state.services)


Use = Annotated[Services, Depends(_services)]
