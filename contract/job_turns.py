"""Whose job is next, and how fast drawing jobs go.

Owners take turns: first those of whom fewest jobs run, among them who has waited longest for a claim.
"""

from __future__ import annotations

from collections import Counter
from typing import cast

from redis import Redis

from contract import keys

LOOKED_AT = 50  # of the jobs that ended last


def turns(redis: Redis, kind: str) -> list[str]:
    """Queued jobs in the order of their turns; of one owner the oldest first."""
    queued = cast("list[str]", redis.zrange(keys.jobs_queued(kind), 0, -1))
    running = cast("list[str]", redis.zrange(keys.JOBS_RUNNING, 0, -1))
    with redis.pipeline(transaction=False) as pipe:
        for job_id in (*queued, *running):
            pipe.hmget(keys.job(job_id), "owner", "kind")
        pipe.hgetall(keys.JOBS_SERVED)
        *found, last = pipe.execute()
    busy = Counter(owner for owner, of in found[len(queued) :] if of == kind)
    waiting = [(owner, job_id) for (owner, _), job_id in zip(found, queued, strict=False)]
    waiting.sort(key=lambda pair: (busy[pair[0]], float(last.get(pair[0], 0))))  # stable: the oldest first
    return [job_id for _, job_id in waiting]


def served(redis: Redis, job_id: str) -> None:
    """A job has been claimed: its owner has had a turn."""
    owner = cast("str", redis.hget(keys.job(job_id), "owner"))
    seconds, microseconds = redis.time()
    redis.hset(keys.JOBS_SERVED, owner, f"{seconds}.{microseconds:06}")


def pixels_left(redis: Redis) -> int:
    """Pixels of all drawing jobs that have not ended."""
    return sum(int(pixels) for pixels in cast("list[str]", redis.hvals(keys.JOBS_PIXELS)))


def pixel_rate(redis: Redis) -> float | None:
    """Pixels a second of the drawing jobs that ended last, each by itself; None if there are none."""
    ended = cast("list[str]", redis.zrevrange(keys.JOBS_ENDED, 0, LOOKED_AT - 1))
    with redis.pipeline(transaction=False) as pipe:
        for job_id in ended:
            pipe.hmget(keys.job(job_id), "status", "pixels", "started_at", "finished_at")
        found = pipe.execute()
    drawn = [times for status, *times in found if status == "succeeded" and times[0]]
    seconds = sum(float(end) - float(start) for _, start, end in drawn)
    return sum(int(pixels) for pixels, _, _ in drawn) / seconds if seconds > 0 else None
