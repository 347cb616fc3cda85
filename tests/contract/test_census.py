from __future__ import annotations

import pytest
from redis import Redis

from contract import keys
from contract.census import census
from contract.jobs import JobStore
from contract.messages import DrawRequest, Images, Side, TrainRequest
from contract.queue import GENERATE, TRAIN

DRAW = DrawRequest(
    model="m", digest="d", what=Images(seeds=(1,), truncation=1, columns=Side.whole(8), rows=Side.whole(8))
)


def train(name: str) -> TrainRequest:
    return TrainRequest(dataset="d", preset="p", name=name, kimg=1, seed=0)


def test_an_empty_house_has_nothing_and_no_age(redis: Redis) -> None:
    found = census(redis)
    assert (found.workers, found.messages) == ({GENERATE: 0, TRAIN: 0}, {GENERATE: 0, TRAIN: 0})
    assert (found.queued, found.running) == ({"draw": 0, "train": 0}, {"draw": 0, "train": 0})
    assert found.oldest == {"draw": 0, "train": 0}
    assert (found.webhooks_due, found.webhooks_dead) == (0, 0)


def test_everything_is_counted_by_its_kind(redis: Redis) -> None:
    store = JobStore(redis)
    ids = [store.create(train(name)) for name in ("a", "b", "c")]
    store.create(DRAW, webhook="https://example.org")
    claim = store.claim(ids[0], TrainRequest)
    assert claim is not None
    redis.zadd(keys.jobs_queued("train"), {ids[1]: redis.time()[0] - 100})
    redis.rpush(keys.of_version(GENERATE), "x", "y")
    now = redis.time()[0]
    redis.zadd(keys.workers(TRAIN), {"alive": now, "gone": now - 60})
    redis.zadd(keys.VERSIONS, {keys.of_version(TRAIN): now, "train:0.1": now, "generate:0.1": now - 60})
    found = census(redis)
    assert found.others == {GENERATE: 0, TRAIN: 1}
    assert (found.queued, found.running) == ({"draw": 1, "train": 2}, {"draw": 0, "train": 1})
    assert (found.workers, found.messages) == ({GENERATE: 0, TRAIN: 1}, {GENERATE: 2, TRAIN: 0})
    assert found.oldest["train"] == pytest.approx(100, abs=2)
    assert found.oldest["draw"] < 2
    store.succeed(claim, {})
    assert census(redis).running["train"] == 0
