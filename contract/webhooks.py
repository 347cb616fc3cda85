"""Ends of jobs that somebody is to be told of: due ones, claimed for one attempt at a time, and dead ones.

The scripts of contract/job_machine.py make them due, in the step that ends the job. An attempt has a lease:
if the process that makes it is lost, another begins the next one. So each is delivered at least once, and
perhaps more often, but never by two processes at a time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from redis import Redis

from contract import keys

LEASE_SECONDS = 30.0  # of one attempt, which must end well before
KEEP_DEAD = 1000

_NOW = "local t = redis.call('TIME'); local now = t[1] + t[2] / 1000000; "

# KEYS: due, attempts. ARGV: how many, lease seconds.
_CLAIM = (
    _NOW
    + """
local claimed = {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, ARGV[1])) do
  redis.call('ZADD', KEYS[1], now + ARGV[2], id)
  table.insert(claimed, {id, redis.call('HINCRBY', KEYS[2], id, 1)})
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
        self._claim = redis.register_script(_CLAIM)
        self._again = redis.register_script(_AGAIN)
        self._end = redis.register_script(_END)

    def claim(self, limit: int) -> list[Attempt]:
        """Begins an attempt of each that is due, ``limit`` of them at most."""
        got = self._claim(keys=[keys.WEBHOOKS_DUE, keys.WEBHOOK_ATTEMPTS], args=[limit, LEASE_SECONDS])
        return [Attempt(job_id, int(number)) for job_id, number in cast("list[Any]", got)]

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
