"""The job record: the truth about a training, or about a drawing that nobody waits for.

Celery's message is only a doorbell that carries its id.

    queued -> running -> succeeded | failed | cancelled
    running -> queued      released by a worker that stops, or its lease ran out and another claims it
    queued -> cancelled    at once; a running one is told at its next beat

A claim gives a lease, renewed by every beat, and a fence that rises with each claim: a worker whose
fence is no longer the record's has lost the job, and nothing it says counts. Every change is one Lua
script, so it happens whole or not at all; the clock is Redis's, one for all hosts.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Generic, TypeVar, cast

from pydantic import BaseModel, ConfigDict
from redis import Redis

from contract import keys
from contract.messages import DrawRequest, TrainRequest

LEASE_SECONDS = 30


class JobStatus(StrEnum):
    """Where a job stands."""

    QUEUED = "queued"  # waits for a worker
    RUNNING = "running"  # a worker holds the lease
    SUCCEEDED = "succeeded"  # final; `result` says what it made
    FAILED = "failed"  # final; `error` says why
    CANCELLED = "cancelled"  # final; asked for by a client


FINAL = frozenset({JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELLED})


class Job(BaseModel):
    """A job as clients see it."""

    model_config = ConfigDict(frozen=True)

    id: str
    kind: str
    status: JobStatus
    attempts: int  # times a worker has claimed it
    position: int | None  # jobs ahead of it while it is queued
    progress: dict[str, Any] | None
    error: str | None
    result: dict[str, Any] | None
    request: dict[str, Any]
    created_at: float  # Unix times
    started_at: float | None
    finished_at: float | None


class NameTakenError(Exception):
    """An unfinished job will make a model of that name."""


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


_NOW = "local t = redis.call('TIME'); local now = t[1] + t[2] / 1000000; "

# KEYS: job, jobs, queued, names. ARGV: id, name, kind, request.
_CREATE = (
    _NOW
    + """
if redis.call('HSETNX', KEYS[4], ARGV[2], ARGV[1]) == 0 then return 0 end
redis.call('HSET', KEYS[1], 'kind', ARGV[3], 'status', 'queued', 'attempts', 0, 'fence', 0, 'lease', 0,
           'cancel', 0, 'name', ARGV[2], 'request', ARGV[4], 'created_at', now)
redis.call('ZADD', KEYS[2], now, ARGV[1])
redis.call('ZADD', KEYS[3], now, ARGV[1])
return 1
"""
)

# KEYS: job, queued. ARGV: id, lease seconds.
_CLAIM = (
    _NOW
    + """
local status, lease = unpack(redis.call('HMGET', KEYS[1], 'status', 'lease'))
if not (status == 'queued' or (status == 'running' and tonumber(lease) < now)) then return nil end
redis.call('HINCRBY', KEYS[1], 'attempts', 1)
redis.call('HSET', KEYS[1], 'status', 'running', 'lease', now + ARGV[2])
redis.call('HSETNX', KEYS[1], 'started_at', now)
redis.call('ZREM', KEYS[2], ARGV[1])
return {redis.call('HINCRBY', KEYS[1], 'fence', 1), redis.call('HGET', KEYS[1], 'request')}
"""
)

# KEYS: job. ARGV: fence, lease seconds, progress ('' for none).
_BEAT = (
    _NOW
    + """
local status, fence, cancel = unpack(redis.call('HMGET', KEYS[1], 'status', 'fence', 'cancel'))
if status ~= 'running' or fence ~= ARGV[1] then return 'lost' end
redis.call('HSET', KEYS[1], 'lease', now + ARGV[2])
if ARGV[3] ~= '' then redis.call('HSET', KEYS[1], 'progress', ARGV[3]) end
return cancel == '1' and 'cancel' or 'go on'
"""
)

# KEYS: job, names. ARGV: fence, status, field, value.
_FINISH = (
    _NOW
    + """
local status, fence, name = unpack(redis.call('HMGET', KEYS[1], 'status', 'fence', 'name'))
if status ~= 'running' or fence ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'status', ARGV[2], 'finished_at', now)
if ARGV[3] ~= '' then redis.call('HSET', KEYS[1], ARGV[3], ARGV[4]) end
redis.call('HDEL', KEYS[2], name)
return 1
"""
)

# KEYS: job, queued. ARGV: id, fence.
_RELEASE = """
local status, fence, created = unpack(redis.call('HMGET', KEYS[1], 'status', 'fence', 'created_at'))
if status ~= 'running' or fence ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], 'status', 'queued', 'lease', 0)
redis.call('ZADD', KEYS[2], created, ARGV[1])
return 1
"""

# KEYS: job, queued, names. ARGV: id.
_CANCEL = (
    _NOW
    + """
local status, name = unpack(redis.call('HMGET', KEYS[1], 'status', 'name'))
if status == 'queued' then
  redis.call('HSET', KEYS[1], 'status', 'cancelled', 'finished_at', now)
  redis.call('ZREM', KEYS[2], ARGV[1])
  redis.call('HDEL', KEYS[3], name)
elseif status == 'running' then
  redis.call('HSET', KEYS[1], 'cancel', 1)
end
return status
"""
)


class JobStore:
    """The records in one Redis (a client with ``decode_responses=True``)."""

    def __init__(self, redis: Redis) -> None:
        self.redis = redis
        self._create = redis.register_script(_CREATE)
        self._claim = redis.register_script(_CLAIM)
        self._beat = redis.register_script(_BEAT)
        self._finish = redis.register_script(_FINISH)
        self._release = redis.register_script(_RELEASE)
        self._cancel = redis.register_script(_CANCEL)

    def create(self, request: TrainRequest | DrawRequest) -> str:
        """A new queued job's id; raises ``NameTakenError`` if an unfinished job will make that model."""
        job_id = uuid.uuid4().hex
        name = request.name if isinstance(request, TrainRequest) else job_id
        made = self._create(
            keys=[keys.job(job_id), keys.JOBS, keys.jobs_queued(request.KIND), keys.JOB_NAMES],
            args=[job_id, name, request.KIND, request.model_dump_json()],
        )
        if not made:
            raise NameTakenError(name)
        return job_id

    def claim(self, job_id: str, kind: type[Asked]) -> Claim[Asked] | None:
        """Takes the job if it is queued or its lease has run out; None if it is not to be had."""
        got = self._claim(keys=[keys.job(job_id), keys.jobs_queued(kind.KIND)], args=[job_id, LEASE_SECONDS])
        if got is None:
            return None
        fence, request = cast(list[Any], got)
        return Claim(job_id, int(fence), kind.model_validate_json(request))

    def beat(self, claim: Claim[Asked], progress: dict[str, Any] | None = None) -> Beat:
        """Renews the lease and tells progress; the answer says whether to go on."""
        told = json.dumps(progress) if progress else ""
        answer = self._beat(keys=[keys.job(claim.job_id)], args=[claim.fence, LEASE_SECONDS, told])
        return Beat(cast(str, answer))

    def succeed(self, claim: Claim[Asked], result: dict[str, Any]) -> bool:
        """Ends the job well; False if it was lost meanwhile."""
        return self._end(claim, JobStatus.SUCCEEDED, "result", json.dumps(result))

    def fail(self, claim: Claim[Asked], error: str) -> bool:
        """Ends the job with a sentence that says why; False if it was lost meanwhile."""
        return self._end(claim, JobStatus.FAILED, "error", error)

    def cancelled(self, claim: Claim[Asked]) -> bool:
        """Ends the job as a client wished; False if it was lost meanwhile."""
        return self._end(claim, JobStatus.CANCELLED, "", "")

    def release(self, claim: Claim[Asked]) -> bool:
        """Gives the job back to the queue; ring again after it. False if it was lost meanwhile."""
        return bool(
            self._release(
                keys=[keys.job(claim.job_id), keys.jobs_queued(claim.request.KIND)],
                args=[claim.job_id, claim.fence],
            )
        )

    def request_cancel(self, job_id: str) -> None:
        """Cancels a queued job, tells a running one; raises ``KeyError`` or ``JobFinishedError``."""
        kind = cast("str | None", self.redis.hget(keys.job(job_id), "kind"))
        if kind is None:
            raise KeyError(job_id)
        queued = keys.jobs_queued(kind)
        status = self._cancel(keys=[keys.job(job_id), queued, keys.JOB_NAMES], args=[job_id])
        if status in FINAL:
            raise JobFinishedError(job_id)

    def get(self, job_id: str) -> Job:
        """The job; raises ``KeyError`` if there is none."""
        record = cast(dict[str, str], self.redis.hgetall(keys.job(job_id)))
        if not record:
            raise KeyError(job_id)
        position = cast("int | None", self.redis.zrank(keys.jobs_queued(record["kind"]), job_id))
        return _parse(job_id, record, position)

    def list(self, limit: int, before: str | None = None) -> list[Job]:
        """Jobs newest first; ``before`` is the id of the last one of the page before."""
        start = 0
        if before is not None:
            rank = cast("int | None", self.redis.zrevrank(keys.JOBS, before))
            if rank is None:
                raise KeyError(before)
            start = rank + 1
        ids = cast("list[str]", self.redis.zrevrange(keys.JOBS, start, start + limit - 1))
        return [self.get(job_id) for job_id in ids]

    def _end(self, claim: Claim[Asked], status: JobStatus, field: str, value: str) -> bool:
        return bool(
            self._finish(
                keys=[keys.job(claim.job_id), keys.JOB_NAMES],
                args=[claim.fence, status, field, value],
            )
        )


def _parse(job_id: str, record: dict[str, str], position: int | None) -> Job:
    def loaded(field: str) -> dict[str, Any] | None:
        return json.loads(record[field]) if field in record else None

    return Job(
        id=job_id,
        kind=record["kind"],
        status=JobStatus(record["status"]),
        attempts=int(record["attempts"]),
        position=position,
        progress=loaded("progress"),
        error=record.get("error"),
        result=loaded("result"),
        request=json.loads(record["request"]),
        created_at=float(record["created_at"]),
        started_at=float(record["started_at"]) if "started_at" in record else None,
        finished_at=float(record["finished_at"]) if "finished_at" in record else None,
    )
