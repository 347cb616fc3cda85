"""What the routes work with, made once a process by the lifespan and kept on ``app.state``."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import signal
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, TypeVar, cast

from celery import Celery
from fastapi import Depends, Request
from redis import Redis, RedisError
from redis.asyncio import Redis as AsyncRedis

from app.admission import Gate
from app.coalesce import Coalescer
from app.errors import InsufficientStorage, NotFound, ServiceError, Unavailable, of_disk, of_redis, short
from app.reader import Reader, StalledError
from app.replies import Replies
from app.settings import AppSettings
from app.uploads import Uploads
from contract import keys
from contract.arithmetic import PATTERN, PORTABLE
from contract.claim import claim
from contract.disk import DiskError, check
from contract.jobs import JobStore
from contract.models import ModelLibrary, PublishedModel, SkippedModel
from contract.presence import alive, kinds, other_versions
from contract.promotion import Promotion
from contract.queue import GENERATE, QUEUES, TRAIN, image_queue
from contract.redis_urls import without_password
from contract.versions import TOGETHER

T = TypeVar("T")

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
CLAIM_SECONDS = 5.0
DIGEST = re.compile(rf"([0-9a-f]{{12,64}})(?:\+({PATTERN}))?")


@dataclass
class Fleet:
    """Who is alive, looked at once a second."""

    redis: Redis
    bytes_redis: Redis
    preferred: str = PORTABLE  # kind of arithmetic
    redis_answers: bool = False
    redis_error: Exception = field(default_factory=RedisError)  # while it does not
    redis_folder: Path | None = None  # where it keeps its file, once that could not be written
    workers: dict[str, int] = field(default_factory=dict)
    kinds: dict[str, int] = field(default_factory=dict)  # image workers by kind of arithmetic
    others: list[str] = field(default_factory=list)  # versions of workers that are not asked

    @property
    def arithmetic(self) -> str:
        """The kind that draws what names no kind: the preferred one, or the first of those that are alive."""
        if self.preferred in self.kinds or not self.kinds:
            return self.preferred
        return min(self.kinds)

    @property
    def redis_refusal(self) -> ServiceError:
        """While Redis does not answer, or refuses."""
        return of_redis(self.redis_error, self.redis_folder)

    def job_queue(self, kind: str) -> str:
        """Where workers hear of jobs of that kind."""
        return image_queue(self.arithmetic) if QUEUES[kind] == GENERATE else keys.of_version(QUEUES[kind])

    def missing(self) -> list[str]:
        """What keeps images from being drawn, as sentences; empty when all is well."""
        if not self.redis_answers:
            return [self.redis_refusal.detail]
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
            self.kinds = kinds(self.redis)
            self.others = other_versions(self.redis)
            self.redis.ping()  # refused while its file cannot be written, which reading is not
            self.bytes_redis.ping()
            self.redis_answers = True
        except RedisError as error:
            self.workers, self.kinds, self.others, self.redis_answers = {}, {}, [], False
            self.redis_error = error
            if isinstance(self.redis_refusal, InsufficientStorage):
                self._look_for_folder()

    def _look_for_folder(self) -> None:
        with contextlib.suppress(RedisError):  # of others than ours, who may not let us ask
            self.redis_folder = Path(cast("dict[str, str]", self.redis.config_get("dir"))["dir"])

    async def look_forever(self) -> None:
        """``look``, again and again."""
        while True:
            await asyncio.to_thread(self.look)
            await asyncio.sleep(LOOK_SECONDS)

    async def claim_forever(self, settings: AppSettings) -> None:
        """Tells Redis again and again whose jobs it keeps; ends this process if they are another's."""
        while True:
            try:
                await asyncio.to_thread(
                    claim, self.redis, settings.data_dir, without_password(settings.redis_url)
                )
            except ValueError as error:
                log.critical("this API ends: %s", error)
                os.kill(os.getpid(), signal.SIGTERM)
                return
            except (RedisError, DiskError) as error:
                log.debug("Redis cannot be told whose jobs it keeps: %s", error)
            await asyncio.sleep(CLAIM_SECONDS)


@dataclass(frozen=True)
class Services:
    """Everything a route may need."""

    settings: AppSettings
    library: ModelLibrary
    promotion: Promotion
    reader: Reader  # of both
    jobs: JobStore
    events: AsyncRedis  # what readers of jobs' events look through
    celery: Celery
    fleet: Fleet
    replies: Replies
    coalescer: Coalescer
    gate: Gate
    uploads: Uploads

    def model(self, reference: str) -> PublishedModel:
        """The model that is meant by its name, by ``default``, or by ``name@digest`` as X-Model has it.

        A digest may end in ``+`` and a kind of arithmetic; without one it stands for portable bytes, and a
        name alone for the service's choice. Raises ``NotFound``, also if the digest is another one now.
        """
        name, at, digest = reference.partition("@")
        if not at:
            return replace(self._of_name(name), arithmetic=self.fleet.arithmetic)
        model, named = self._of_name(name), DIGEST.fullmatch(digest)
        if not (named and model.digest.startswith(named[1])):
            raise NotFound(
                f"model {name!r} is {model.short_digest} now, not {short(digest)}: leave out the @ and what "
                "follows it to draw with that"
            )
        return replace(model, arithmetic=named[2] or PORTABLE)

    def _of_name(self, name: str) -> PublishedModel:
        wanted = self.default_model() if name == "default" else name
        try:
            return self.read(("model", wanted), lambda: self.library.get(wanted))
        except KeyError:
            which = repr(short(wanted)) if wanted == name else f"{wanted!r}, which `default` names"
            raise NotFound(f"model {which} does not exist: GET /models lists all models") from None

    def models(self) -> tuple[list[PublishedModel], list[SkippedModel]]:
        """All models, and the folders that were passed over."""
        return self.read("models", self.library.scan)

    def default_model(self) -> str:
        """The name that ``default`` stands for."""
        return self.read("promoted", lambda: self.promotion.name)

    def read(self, what: Hashable, look: Callable[[], T]) -> T:
        """What ``look`` finds in the shared folders; raises ``Unavailable`` if they do not answer."""
        try:
            return self.reader.ask(what, look)
        except StalledError:
            raise Unavailable("the folder of models does not answer: try again", reason="other") from None
        except OSError as error:
            log.error("the folder of models cannot be read: %s", error)
            raise Unavailable(
                f"the folder of models cannot be read ({error.strerror}): try again", reason="other"
            ) from None

    def disk_error(self) -> DiskError | None:
        """What stands in the way of writing to the data folder; None if nothing does."""
        folder = self.settings.data_dir
        try:
            self.reader.ask("disk", lambda: check(folder))
        except DiskError as error:
            return error
        except StalledError:
            return DiskError(folder, "the disk does not answer")
        return None

    def require_disk(self) -> None:
        """Raises ``InsufficientStorage`` if nothing can be written, so that no job could keep its result."""
        if error := self.disk_error():
            log.error("%s", error)
            raise of_disk(error, self.settings.data_dir)

    def require_fleet(self, arithmetic: str) -> None:
        """Raises ``Unavailable`` if images cannot be drawn now with that kind of arithmetic."""
        if not self.fleet.redis_answers:
            raise self.fleet.redis_refusal
        if missing := self.fleet.missing():
            raise Unavailable(missing[0], reason="no_worker")
        if arithmetic not in self.fleet.kinds:
            raise Unavailable(
                f"no image worker of arithmetic {arithmetic!r} is running, only of "
                f"{', '.join(sorted(self.fleet.kinds))}: start one, or ask without naming a digest",
                reason="no_worker",
            )


async def _services(request: Request) -> Services:
    """Async, as what asks nobody should be: FastAPI gives anything else a thread, which takes longer."""
    return cast(Services, request.app.state.services)


Use = Annotated[Services, Depends(_services)]
