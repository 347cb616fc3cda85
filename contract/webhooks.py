"""Ends of jobs that somebody is to be told of: due ones, claimed for one attempt at a time, and dead ones.

The scripts of contract/job_machine.py make them due, in the step that ends the job. An attempt has a lease:
if the process that makes it is lost, another begins the next one. So each is delivered at least once, and
perhaps more often, but never by two processes at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast
from urllib.parse import urlsplit

from redis import Redis

from contract import keys

LEASE_SECONDS = 30.0  # of one attempt, which must end well before
KEEP_DEAD = 1000

_NOW = "local t = redis.call('TIME'); local now = t[1] + t[2] / 1000000; "

# KEYS: due. ARGV: how many.
_DUE = _NOW + "return redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, ARGV[1])"

# Those that are due still. KEYS: due, attempts. ARGV: seconds until they are due again, whether an attempt
# begins, then ids.
_PUT_OFF = (
    _NOW
    + """
local claimed = {}
for number = 3, #ARGV do
  local id = ARGV[number]
  local due = redis.call('ZSCORE', KEYS[1], id)
  if due and tonumber(due) <= now then
    redis.call('ZADD', KEYS[1], now + ARGV[1], id)
    if ARGV[2] == '1' then table.insert(claimed, {id, redis.call('HINCRBY', KEYS[2], id, 1)}) end
  end
end
return claimed
"""
)

# KEYS: due, attempts. ARGV: id, attempt, seconds until the next.
_AGAIN = (
    _NOW
    + """
if redis.call('HGET', KEYS[2], ARGV[1]) ~= ARGV[2] then return 0 end
redis.call('ZADD', KEYS[1], 'XX', now + ARGV[3], ARGV[1])
return 1
"""
)

# KEYS: due, attempts, dead, reasons. ARGV: id, attempt, reason ('' when it was delivered), how many are kept.
_END = (
    _NOW
    + """
if redis.call('HGET', KEYS[2], ARGV[1]) ~= ARGV[2] then return 0 end
if ARGV[3] ~= '' then
  redis.call('HSET', KEYS[4], ARGV[1], ARGV[3])
  redis.call('ZADD', KEYS[3], now, ARGV[1])
  for _, id in ipairs(redis.call('ZRANGE', KEYS[3], 0, -1 - ARGV[4])) do
    redis.call('ZREM', KEYS[3], id)
    redis.call('HDEL', KEYS[4], id)
  end
end
redis.call('ZREM', KEYS[1], ARGV[1])
redis.call('HDEL', KEYS[2], ARGV[1])
return 1
"""
)


@dataclass(frozen=True)
class Due:
    """The end of a job that is to be told."""

    job_id: str
    owner: str
    url: str

    @cached_property
    def receiver(self) -> str:
        """Host and port, which webhooks of one receiver have in common."""
        try:
            return urlsplit(self.url).netloc.rpartition("@")[2].lower()
        except ValueError:
            return self.url


@dataclass(frozen=True)
class Attempt:
    """One delivery, begun; whoever has an older number than the newest has lost it."""

    job_id: str
    number: int  # from 1


@dataclass(frozen=True)
class DeadLetter:
    """A delivery that was given up."""

    job_id: str
    reason: str
    died_at: float  # Unix time


class WebhookQueue:
    """What is due and what is dead, in one Redis (a client with ``decode_responses=True``)."""

    def __init__(self, redis: Redis) -> None:
        self.redis = redis
        self._known: dict[str, Due] = {}  # those that were due the last time; a record's URL never changes
        self._due = redis.register_script(_DUE)
        self._put_off = redis.register_script(_PUT_OFF)
        self._again = redis.register_script(_AGAIN)
        self._end = redis.register_script(_END)

    def due(self, limit: int) -> list[Due]:
        """Those that are due, the longest first, ``limit`` of them at most."""
        ids = cast("list[str]", self._due(keys=[keys.WEBHOOKS_DUE], args=[limit]))
        new = [job_id for job_id in ids if job_id not in self._known]
        with self.redis.pipeline(transaction=False) as pipe:
            for job_id in new:
                pipe.hmget(keys.job(job_id), "owner", "webhook")
            found = dict(zip(new, pipe.execute(), strict=True))
        read = {job_id: Due(job_id, owner or "", url or "") for job_id, (owner, url) in found.items()}
        self._known = {job_id: self._known.get(job_id) or read[job_id] for job_id in ids}
        return list(self._known.values())

    def claim(self, ids: Sequence[str]) -> list[Attempt]:
        """Begins an attempt of each of these that is still due."""
        got = self._put_off(keys=[keys.WEBHOOKS_DUE, keys.WEBHOOK_ATTEMPTS], args=[LEASE_SECONDS, 1, *ids])
        return [Attempt(job_id, int(number)) for job_id, number in cast("list[Any]", got)]

    def put_off(self, ids: Sequence[str], seconds: float) -> None:
        """Those of these that are due are due so much later, without an attempt."""
        self._put_off(keys=[keys.WEBHOOKS_DUE, keys.WEBHOOK_ATTEMPTS], args=[seconds, 0, *ids])

    def again(self, attempt: Attempt, seconds: float) -> bool:
        """It failed: another one begins so much later. False if one has begun already."""
        touched = [keys.WEBHOOKS_DUE, keys.WEBHOOK_ATTEMPTS]
        return bool(self._again(keys=touched, args=[attempt.job_id, attempt.number, seconds]))

    def delivered(self, attempt: Attempt) -> bool:
        """It was heard. False if another attempt has begun already."""
        return self._over(attempt, "")

    def bury(self, attempt: Attempt, reason: str) -> bool:
        """It is given up, for that reason. False if another attempt has begun already."""
        return self._over(attempt, reason)

    def dead(self) -> list[DeadLetter]:
        """Those given up last, newest first."""
        found = cast(
            "list[tuple[str, float]]", self.redis.zrevrange(keys.WEBHOOKS_DEAD, 0, -1, withscores=True)
        )
        reasons = cast("dict[str, str]", self.redis.hgetall(keys.WEBHOOK_REASONS))
        return [DeadLetter(job_id, reasons.get(job_id, ""), died_at) for job_id, died_at in found]

    def _over(self, attempt: Attempt, reason: str) -> bool:
        touched = [keys.WEBHOOKS_DUE, keys.WEBHOOK_ATTEMPTS, keys.WEBHOOKS_DEAD, keys.WEBHOOK_REASONS]
        return bool(self._end(keys=touched, args=[attempt.job_id, attempt.number, reason, KEEP_DEAD]))
