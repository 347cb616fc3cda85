"""The job record: the truth about a training, or about a drawing that nobody waits for.

Celery's message is only a doorbell that carries its id.

A claim gives a lease, renewed by every beat, and a fence that rises with each claim; a worker whose fence is
no longer the record's has lost the job, and nothing it says counts. All transitions: contract/job_machine.py.
"""

from __future__ import annotations

import contextlib
import json
import uuid
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Generic, TypeVar, cast

from pydantic import BaseModel, ConfigDict, Field, field_serializer
from redis import Redis

from contract import job_machine as machine
from contract import job_turns, keys
from contract.asked import asked
from contract.messages import DrawRequest, TrainRequest
from contract.times import UtcTime


class JobStatus(StrEnum):
    """Where a job stands."""

    QUEUED = "queued"  # waits for a worker
    RUNNING = "running"  # a worker holds the lease
    SUCCEEDED = "succeeded"  # final; `result` says what it made
    FAILED = "failed"  # final; `error` says why
    CANCELLED = "cancelled"  # final; asked for by a client


ANONYMOUS = "anonymous"  # the owner of jobs that nobody in particular asked for
TRIM_AT_ONCE = 2000  # jobs of an owner that are looked at
MOST_QUEUED = 1000  # jobs of one kind that wait, unless told otherwise
FINAL = frozenset({JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELLED})


class Job(BaseModel):
    """A job as clients see it."""

    model_config = ConfigDict(frozen=True)

    id: str
    owner: str = Field(exclude=True)  # who asked for it; clients are not told
    webhook: str | None = Field(exclude=True)  # URL that is told of its end
    kind: str = Field(json_schema_extra={"enum": [TrainRequest.KIND, DrawRequest.KIND]})
    status: JobStatus
    attempts: int  # times a worker has claimed it
    losses: int  # of these, times that the worker was lost
    position: int | None  # jobs ahead of it while it is queued
    progress: dict[str, Any] | None
    error: str | None
    result: dict[str, Any] | None
    request: dict[str, Any]
    created_at: UtcTime
    started_at: UtcTime | None
    finished_at: UtcTime | None

    @field_serializer("request", when_used="json")
    def _asked(self, request: dict[str, Any]) -> dict[str, Any]:
        return asked(request)


class NotTakenError(Exception):
    """The job cannot be taken now."""


class NameTakenError(NotTakenError):
    """An unfinished job will make a model of that name."""


class QueueFullError(NotTakenError):
    """As many jobs of its kind wait as may."""


class QuotaUsedError(NotTakenError):
    """Its owner has as many unfinished jobs as they may."""


class PixelsUsedError(NotTakenError):
    """Its owner's unfinished jobs have as many pixels as they may."""


class RecordsFullError(NotTakenError):
    """What is kept of its owner's jobs takes as much room as it may."""


_REFUSALS = {
    "taken": NameTakenError, "full": QueueFullError, "quota": QuotaUsedError, "pixels": PixelsUsedError,
    "bytes": RecordsFullError,
}  # fmt: skip


class JobFinishedError(Exception):
    """The job has ended, so it cannot be cancelled."""


Asked = TypeVar("Asked", TrainRequest, DrawRequest)


@dataclass(frozen=True)
class Claim(Generic[Asked]):
    """A worker's hold on a job."""

    job_id: str
    fence: int
    request: Asked


class Beat(StrEnum):
    """What a beat is answered."""

    GO_ON = "go on"
    CANCEL = "cancel"  # a client asked for it
    LOST = "lost"  # another worker holds the job, or it has ended


class JobStore:
    """The records in one Redis (a client with ``decode_responses=True``)."""

    def __init__(self, redis: Redis) -> None:
        self.redis = redis
        self._create = redis.register_script(machine.CREATE)
        self._claim = redis.register_script(machine.CLAIM)
        self._beat = redis.register_script(machine.BEAT)
        self._finish = redis.register_script(machine.FINISH)
        self._release = redis.register_script(machine.RELEASE)
        self._cancel = redis.register_script(machine.CANCEL)
        self._reap = redis.register_script(machine.REAP)
        self._forget = redis.register_script(machine.FORGET)
        self._ring = redis.register_script(machine.RING)
        self._due = redis.register_script(machine.DUE)
        self._elect = redis.register_script(machine.ELECT)

    def create(
        self,
        request: TrainRequest | DrawRequest,
        owner: str = ANONYMOUS,
        webhook: str | None = None,
        *,
        job_id: str | None = None,
        most_queued: int = MOST_QUEUED,
        most_open: int | None = None,
        most_pixels: int | None = None,
    ) -> str:
        """A new queued job's id; that of a job which is there already if ``job_id`` names one.

        ``webhook`` is the URL that is told of its end. Raises ``QueueFullError`` if ``most_queued`` of its
        kind wait, ``QuotaUsedError`` if the owner has ``most_open`` unfinished ones, ``PixelsUsedError`` if
        it is not the owner's only one and they would have more than ``most_pixels``, ``RecordsFullError`` if
        the owner's records are too large, ``NameTakenError`` if an unfinished job will make that model.
        """
        job_id = job_id or uuid.uuid4().hex
        name = request.name if isinstance(request, TrainRequest) else job_id
        verdict = self._create(
            keys=[*keys.of_job(job_id, request.KIND), keys.jobs_of(owner), keys.JOB_BYTES],
            args=[
                job_id, name, request.KIND, request.model_dump_json(), machine.RING_SECONDS,
                owner, webhook or "", most_queued, -1 if most_open is None else most_open,
                request.what.pixels if isinstance(request, DrawRequest) else 0,
                -1 if most_pixels is None else most_pixels, machine.MOST_BYTES, machine.RECORD_BYTES,
            ],
        )  # fmt: skip
        if refusal := _REFUSALS.get(cast(str, verdict)):
            raise refusal(name)
        return job_id

    def count_queued(self, kind: str) -> int:
        """Jobs of that kind that wait."""
        return self.redis.zcard(keys.jobs_queued(kind))

    def end_rate(self) -> float:
        """Jobs that have ended a second, in the last ten minutes."""
        now, _ = self.redis.time()
        return self.redis.zcount(keys.JOBS_ENDED, now - 600, "+inf") / 600

    def claim(self, job_id: str, kind: type[Asked]) -> Claim[Asked] | None:
        """Takes the job if it is queued and no pause keeps it; None if it is not to be had."""
        got = self._claim(keys=keys.of_job(job_id, kind.KIND), args=[job_id, machine.LEASE_SECONDS])
        if got is None:
            return None
        fence, request = cast(list[Any], got)
        return Claim(job_id, int(fence), kind.model_validate_json(request))

    def claim_next(self, job_id: str, kind: type[Asked]) -> Claim[Asked] | None:
        """Takes the queued job whose turn it is, ``job_id`` or another; None if none is to be had.

        Owners take turns (contract/job_turns.py), so a hundred jobs of one delay another's first by one job.
        """
        for candidate in job_turns.turns(self.redis, kind.KIND) or [job_id]:
            if claim := self.claim(candidate, kind):
                job_turns.served(self.redis, candidate)
                return claim
        return None

    def beat(self, claim: Claim[Asked], progress: dict[str, Any] | None = None) -> Beat:
        """Renews the lease and tells progress; the answer says whether to go on."""
        told = json.dumps(progress) if progress else ""
        answer = self._beat(
            keys=keys.of_job(claim.job_id, claim.request.KIND),
            args=[claim.job_id, claim.fence, machine.LEASE_SECONDS, told],
        )
        return Beat(cast(str, answer))

    def succeed(
        self, claim: Claim[Asked], result: dict[str, Any], progress: dict[str, Any] | None = None
    ) -> bool:
        """Ends the job well, with its last progress; False if it was lost meanwhile."""
        told = json.dumps(progress) if progress else ""
        return self._end(claim, JobStatus.SUCCEEDED, "result", json.dumps(result), progress=told)

    def fail(self, claim: Claim[Asked], error: str) -> bool:
        """Ends the job with a sentence that says why; False if it was lost meanwhile."""
        return self._end(claim, JobStatus.FAILED, "error", error)

    def cancelled(self, claim: Claim[Asked]) -> bool:
        """Ends the job as a client wished; False if it was lost meanwhile."""
        return self._end(claim, JobStatus.CANCELLED)

    def release(self, claim: Claim[Asked]) -> bool:
        """Gives the job back to the queue; ring again after it. False if it was lost meanwhile."""
        touched = keys.of_job(claim.job_id, claim.request.KIND)
        return bool(self._release(keys=touched, args=[claim.job_id, claim.fence]))

    def request_cancel(self, job_id: str) -> None:
        """Cancels a queued job, tells a running one; raises ``KeyError`` or ``JobFinishedError``."""
        kind = cast("str | None", self.redis.hget(keys.job(job_id), "kind"))
        if kind is None:
            raise KeyError(job_id)
        if self._cancel(keys=keys.of_job(job_id, kind), args=[job_id]) in FINAL:
            raise JobFinishedError(job_id)

    def elect(self, reaper_id: str, seconds: float) -> bool:
        """Whether that process is the one that reaps, for so many seconds from now."""
        return bool(self._elect(keys=[keys.REAPER], args=[reaper_id, int(seconds * 1000)]))

    def reap(self) -> list[str]:
        """Takes jobs from workers whose leases have run out; gives their ids."""
        return [job_id for job_id in self._due_in(keys.JOBS_RUNNING) if self._reap_one(job_id)]

    def due_rings(self) -> list[tuple[str, str]]:
        """Queued jobs whose doorbells must ring (again) now: ids and kinds."""
        rung = []
        for job_id in self._due_in(keys.JOB_RINGS):
            kind = self._ring(
                keys=[keys.job(job_id), keys.JOB_RINGS],
                args=[job_id, machine.RING_SECONDS, machine.RING_LONGEST],
            )
            if kind is not None:
                rung.append((job_id, cast(str, kind)))
        return rung

    def forget(self) -> list[str]:
        """Removes what is left of jobs that ended long ago, some at a time; gives their ids."""
        old = self._due_in(keys.JOBS_ENDED, machine.KEEP_SECONDS)
        return [job_id for job_id in old if self._forget_one(job_id)]

    def trim(self) -> list[str]:
        """Forgets the oldest ended jobs of owners who have too many, some at a time; gives their ids."""
        forgotten: list[str] = []
        for owner, taken in cast("dict[str, str]", self.redis.hgetall(keys.JOB_BYTES)).items():
            excess = self.redis.zcard(keys.jobs_of(owner)) - machine.MOST_KEPT
            if int(taken) > machine.MOST_KEPT_BYTES or excess > 0:
                forgotten += self._trim_one(owner, excess)
        return forgotten

    def _trim_one(self, owner: str, excess: int) -> list[str]:
        forgotten: list[str] = []
        for job_id in cast("list[str]", self.redis.zrange(keys.jobs_of(owner), 0, TRIM_AT_ONCE - 1)):
            taken = int(cast("str | None", self.redis.hget(keys.JOB_BYTES, owner)) or 0)
            if taken <= machine.MOST_KEPT_BYTES and len(forgotten) >= excess:
                break
            if self._forget_one(job_id, seconds=0):
                forgotten.append(job_id)
        return forgotten

    def _due_in(self, index: str, seconds: float = 0) -> list[str]:
        return cast("list[str]", self._due(keys=[index], args=[seconds]))

    def _reap_one(self, job_id: str) -> bool:
        kind = cast("str", self.redis.hget(keys.job(job_id), "kind"))
        status = self._reap(
            keys=keys.of_job(job_id, kind), args=[job_id, machine.MAX_LOSSES, machine.PAUSE_SECONDS]
        )
        return status is not None

    def _forget_one(self, job_id: str, seconds: float | None = None) -> bool:
        found = cast("list[str | None]", self.redis.hmget(keys.job(job_id), "kind", "owner"))
        kind, owner = (value or "" for value in found)  # gone already if another process was faster
        touched = [
            *keys.of_job(job_id, kind), keys.jobs_of(owner),
            keys.WEBHOOKS_DEAD, keys.WEBHOOK_REASONS, keys.WEBHOOK_ATTEMPTS, keys.JOB_BYTES,
        ]  # fmt: skip
        kept = machine.KEEP_SECONDS if seconds is None else seconds
        return bool(self._forget(keys=touched, args=[job_id, kept]))

    def get(self, job_id: str) -> Job:
        """The job; raises ``KeyError`` if there is none."""
        record = cast(dict[str, str], self.redis.hgetall(keys.job(job_id)))
        if not record:
            raise KeyError(job_id)
        position = cast("int | None", self.redis.zrank(keys.jobs_queued(record["kind"]), job_id))
        return _parse(job_id, record, position)

    def list(self, limit: int, before: str | None = None, owner: str | None = None) -> list[Job]:
        """Jobs newest first, of one owner or of all; ``before`` is the last one of the page before.

        Raises ``KeyError`` if that one is not among them.
        """
        index = keys.JOBS if owner is None else keys.jobs_of(owner)
        start = 0
        if before is not None:
            rank = cast("int | None", self.redis.zrevrank(index, before))
            if rank is None:
                raise KeyError(before)
            start = rank + 1
        found = []
        for job_id in cast("list[str]", self.redis.zrevrange(index, start, start + limit - 1)):
            with contextlib.suppress(KeyError):  # forgotten meanwhile
                found.append(self.get(job_id))
        return found

    def _end(self, claim: Claim[Asked], status: JobStatus, *more: str, progress: str = "") -> bool:
        return bool(
            self._finish(
                keys=keys.of_job(claim.job_id, claim.request.KIND),
                args=[claim.job_id, claim.fence, status, progress, *more],
            )
        )


def _parse(job_id: str, record: dict[str, str], position: int | None) -> Job:
    def loaded(field: str) -> dict[str, Any] | None:
        return json.loads(record[field]) if field in record else None

    return Job(
        id=job_id,
        owner=record["owner"],
        webhook=record.get("webhook"),
        kind=record["kind"],
        status=JobStatus(record["status"]),
        attempts=int(record["attempts"]),
        losses=int(record["losses"]),
        position=position,
        progress=loaded("progress"),
        error=record.get("error"),
        result=loaded("result"),
        request=json.loads(record["request"]),
        created_at=float(record["created_at"]),
        started_at=float(record["started_at"]) if "started_at" in record else None,
        finished_at=float(record["finished_at"]) if "finished_at" in record else None,
    )
