"""The stream beside the record: whatever changes the one is told in the other."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from redis import Redis

from contract import job_machine, keys
from contract.jobs import Beat, Claim, JobStore
from contract.messages import TrainRequest
from tests.contract.test_jobs import claimed, lost, request


@pytest.fixture
def store(redis: Redis) -> JobStore:
    return JobStore(redis)


def told(redis: Redis, job_id: str) -> list[tuple[str, dict[str, Any]]]:
    """Types and data of all events."""
    entries: Any = redis.xrange(keys.job_events(job_id))
    return [(fields["type"], json.loads(fields["data"])) for _, fields in entries]


def statuses(redis: Redis, job_id: str) -> list[str]:
    return [data["status"] for kind, data in told(redis, job_id) if kind == "status"]


def test_each_transition_is_an_event_in_order(store: JobStore, redis: Redis) -> None:
    job_id = store.create(request())
    claim = claimed(store, job_id)
    store.beat(claim, {"kimg": 0.5})
    store.release(claim)
    claim = claimed(store, job_id)
    store.request_cancel(job_id)
    store.cancelled(claim)
    events = told(redis, job_id)
    assert [data.get("status", kind) for kind, data in events] == [
        "queued", "running", "progress", "queued", "running", "cancel-asked", "cancelled",
    ]  # fmt: skip
    assert events[2] == ("progress", {"kimg": 0.5})
    assert [data["attempts"] for kind, data in events if kind == "status"] == [0, 1, 1, 2, 2]


@pytest.mark.parametrize(
    ("end", "part", "value"),
    [
        (
            lambda store, claim: store.succeed(claim, {"model": "a", "n": [1]}),
            "result",
            {"model": "a", "n": [1]},
        ),
        (lambda store, claim: store.fail(claim, 'no "such"\n\\ thing, ü'), "error", 'no "such"\n\\ thing, ü'),
        (lambda store, claim: store.cancelled(claim), "error", None),
    ],
)
def test_the_last_event_says_what_the_record_says(
    store: JobStore,
    redis: Redis,
    end: Callable[[JobStore, Claim[TrainRequest]], bool],
    part: str,
    value: object,
) -> None:
    job_id = store.create(request())
    assert end(store, claimed(store, job_id))
    job, (kind, data) = store.get(job_id), told(redis, job_id)[-1]
    assert kind == "status"
    assert data[part] == value
    assert data["at"] == pytest.approx(job.finished_at, abs=2e-6)
    record = job.model_dump(include={"status", "attempts", "losses", "error", "result"})
    assert {name: data[name] for name in record} == record


def test_losses_and_the_end_that_they_bring_are_events(
    store: JobStore, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_machine, "PAUSE_SECONDS", 0)
    job_id = store.create(request())
    for _ in range(job_machine.MAX_LOSSES):
        lost(store, monkeypatch, job_id)
        store.reap()
    assert statuses(redis, job_id) == ["queued", *["running", "queued"] * 2, "running", "failed"]
    assert told(redis, job_id)[-1][1]["error"] == store.get(job_id).error
    assert told(redis, job_id)[2][1]["losses"] == 1


def test_what_is_refused_is_no_event(store: JobStore, redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    job_id = store.create(request())
    zombie = lost(store, monkeypatch, job_id)
    store.reap()
    before = told(redis, job_id)
    assert store.beat(zombie, {"kimg": 9}) is Beat.LOST
    assert not store.succeed(zombie, {})
    assert not store.release(zombie)
    assert told(redis, job_id) == before


def test_a_beat_is_an_event_only_if_it_brings_news(store: JobStore, redis: Redis) -> None:
    claim = claimed(store, store.create(request()))
    for progress in (None, {"kimg": 1}, {"kimg": 1}, None, {"kimg": 2}):
        store.beat(claim, progress)
    assert [data for kind, data in told(redis, claim.job_id) if kind == "progress"] == [
        {"kimg": 1},
        {"kimg": 2},
    ]


def test_a_cancel_is_asked_for_once(store: JobStore, redis: Redis) -> None:
    claim = claimed(store, store.create(request()))
    for _ in range(3):
        store.request_cancel(claim.job_id)
    assert [kind for kind, _ in told(redis, claim.job_id)] == ["status", "status", "cancel-asked"]


def test_the_newest_thousand_are_kept_and_the_last_one_dropped_is_known(
    store: JobStore, redis: Redis
) -> None:
    claim = claimed(store, store.create(request()))
    key = keys.job_events(claim.job_id)
    ids: list[str] = []
    for kimg in range(1, job_machine.KEEP_EVENTS + 10):
        store.beat(claim, {"kimg": kimg})
        ids.extend(i for i, _ in redis.xrevrange(key, count=1))  # type: ignore[union-attr]
    assert redis.xlen(key) == job_machine.KEEP_EVENTS
    kept = [i for i, _ in redis.xrange(key)]  # type: ignore[union-attr]
    assert kept == ids[-job_machine.KEEP_EVENTS :]
    assert redis.hget(keys.job(claim.job_id), "dropped") == ids[-job_machine.KEEP_EVENTS - 1]
