"""Who is alive: every worker beats into a sorted set, by Redis's clock."""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from typing import cast

from redis import Redis, RedisError

from contract import keys
from contract.versions import TOGETHER

BEAT_SECONDS = 1.0
ALIVE_SECONDS = 5.0  # a worker that has not beaten for so long is gone
FORGOTTEN_SECONDS = 60

# KEYS: zsets. ARGV: seconds after which a silent member is forgotten, a member of each.
_BEAT = """
local now = tonumber(redis.call('TIME')[1])
for i = 1, #KEYS do
  redis.call('ZADD', KEYS[i], now, ARGV[i + 1])
  redis.call('ZREMRANGEBYSCORE', KEYS[i], '-inf', now - ARGV[1])
end
"""
# KEYS: workers. ARGV: seconds.
_ALIVE = "return redis.call('ZCOUNT', KEYS[1], redis.call('TIME')[1] - ARGV[1], '+inf')"
# KEYS: versions, or kinds of arithmetic. ARGV: seconds.
_RECENT = "return redis.call('ZRANGEBYSCORE', KEYS[1], redis.call('TIME')[1] - ARGV[1], '+inf')"
# KEYS: workers. ARGV: id, seconds.
_BEATS = """
local beat = redis.call('ZSCORE', KEYS[1], ARGV[1])
return beat and tonumber(beat) >= redis.call('TIME')[1] - ARGV[2] and 1 or 0
"""


def alive(redis: Redis, queue: str) -> int:
    """Number of workers of that queue that have beaten lately."""
    return int(cast(int, redis.eval(_ALIVE, 1, keys.workers(queue), str(ALIVE_SECONDS))))


def other_versions(redis: Redis) -> list[str]:
    """Whose workers have beaten lately and are not of this version: queue:version, sorted."""
    found = cast("list[str]", redis.eval(_RECENT, 1, keys.VERSIONS, str(ALIVE_SECONDS)))
    return sorted(one for one in found if not one.endswith(f":{TOGETHER}"))


def kinds(redis: Redis) -> dict[str, int]:
    """Number of image workers that have beaten lately, by their kind of arithmetic."""
    found = cast("list[str]", redis.eval(_RECENT, 1, keys.ARITHMETIC, str(ALIVE_SECONDS)))
    return dict(Counter(one.partition(" ")[0] for one in found))


def beats(redis: Redis, queue: str, worker_id: str) -> bool:
    """Whether that worker has beaten lately."""
    return bool(redis.eval(_BEATS, 1, keys.workers(queue), worker_id, str(ALIVE_SECONDS)))


def alive_on(redis: Redis, queue: str, host: str) -> bool:
    """Whether a worker of that queue has beaten lately on that host (a client with ``decode_responses``)."""
    members = cast("list[str]", redis.zrange(keys.workers(queue), 0, -1))
    here = [member for member in members if member.endswith(f"@{host}")]
    return any(beats(redis, queue, member) for member in here)


class Beating:
    """Beats in a thread of its own from ``start`` to ``stop``; a Redis that is away is waited for."""

    def __init__(self, redis: Redis, queue: str, worker_id: str, arithmetic: str = "") -> None:
        self.redis = redis
        self._members = {keys.workers(queue): worker_id}
        if arithmetic:
            self._members[keys.ARITHMETIC] = f"{arithmetic} {worker_id}"
        self._version = keys.of_version(queue)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="presence", daemon=True)

    def start(self) -> None:
        """Begins to beat."""
        self._thread.start()

    def stop(self) -> None:
        """Stops, and takes the worker off the list at once."""
        self._stopping.set()
        self._thread.join(timeout=2)
        try:
            for key, member in self._members.items():
                self.redis.zrem(key, member)
        except RedisError:
            return  # it will be forgotten after ALIVE_SECONDS

    def _run(self) -> None:
        beat = self.redis.register_script(_BEAT)
        members = self._members | {keys.VERSIONS: self._version}
        while not self._stopping.is_set():
            with contextlib.suppress(RedisError):  # the next beat will do
                beat(keys=list(members), args=[FORGOTTEN_SECONDS, *members.values()])
            self._stopping.wait(BEAT_SECONDS)
