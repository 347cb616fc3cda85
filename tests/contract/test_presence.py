from __future__ import annotations

import time

from redis import Redis

from contract import keys
from contract.presence import ALIVE_SECONDS, Beating, alive, kinds, other_versions
from contract.versions import TOGETHER


def test_a_worker_is_alive_while_it_beats_and_gone_when_it_stops(redis: Redis) -> None:
    beating = Beating(redis, "generate", "w1")
    beating.start()
    until = time.monotonic() + 60
    while not alive(redis, "generate") and time.monotonic() < until:
        time.sleep(0.02)
    assert alive(redis, "generate") == 1
    assert alive(redis, "train") == 0
    beating.stop()
    assert alive(redis, "generate") == 0


def test_a_worker_tells_its_version_and_others_are_seen(redis: Redis) -> None:
    beating = Beating(redis, "generate", "w1")
    beating.start()
    until = time.monotonic() + 60
    while not redis.exists(keys.VERSIONS) and time.monotonic() < until:
        time.sleep(0.02)
    beating.stop()
    assert redis.zrange(keys.VERSIONS, 0, -1) == [f"generate:{TOGETHER}"]
    assert other_versions(redis) == []
    now = redis.time()[0]
    redis.zadd(
        keys.VERSIONS, {"train:0.1": now, "generate:9.9": now, "generate:0.1": now - ALIVE_SECONDS - 2}
    )
    assert other_versions(redis) == ["generate:9.9", "train:0.1"]


def test_image_workers_are_counted_by_their_kind_of_arithmetic(redis: Redis) -> None:
    workers = [
        Beating(redis, "generate", f"w{number}", arithmetic)
        for number, arithmetic in enumerate(("portable", "portable", "cpu-avx512-0a1b2c"))
    ]
    for worker in workers:
        worker.start()
    until = time.monotonic() + 60
    while alive(redis, "generate") < 3 and time.monotonic() < until:
        time.sleep(0.02)
    assert kinds(redis) == {"portable": 2, "cpu-avx512-0a1b2c": 1}
    for worker in workers[1:]:
        worker.stop()
    assert kinds(redis) == {"portable": 1}
    workers[0].stop()
    assert kinds(redis) == {}


def test_a_worker_that_fell_silent_is_not_alive(redis: Redis) -> None:
    now = redis.time()[0]
    redis.zadd(keys.workers("generate"), {"silent": now - ALIVE_SECONDS - 2, "fresh": now})
    assert alive(redis, "generate") == 1
