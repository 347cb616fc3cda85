from __future__ import annotations

import pytest
from redis import Redis

from contract import job_machine, keys, webhooks
from contract.jobs import JobStore
from contract.webhooks import Attempt, Due, WebhookQueue
from tests.contract.test_jobs import claimed, lost, request

URL = "https://example.org/hook"


@pytest.fixture
def store(redis: Redis) -> JobStore:
    return JobStore(redis)


@pytest.fixture
def queue(redis: Redis) -> WebhookQueue:
    return WebhookQueue(redis)


def claim_due(queue: WebhookQueue, limit: int) -> list[Attempt]:
    """Begins an attempt of those that are due."""
    return queue.claim([due.job_id for due in queue.due(limit)])


def ended(store: JobStore, name: str = "cats") -> str:
    job_id = store.create(request(name), webhook=URL)
    store.request_cancel(job_id)
    return job_id


@pytest.mark.parametrize("end", ["succeed", "fail", "cancelled", "while queued", "lost", "lost cancel"])
def test_every_end_makes_a_webhook_due_once(
    store: JobStore, queue: WebhookQueue, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    job_id = store.create(request(), webhook=URL)
    assert claim_due(queue, 10) == []
    if end == "while queued":
        store.request_cancel(job_id)
    elif end.startswith("lost"):
        monkeypatch.setattr(job_machine, "MAX_LOSSES", 1)
        lost(store, monkeypatch, job_id)
        if end == "lost cancel":
            store.request_cancel(job_id)
        store.reap()
    else:
        claim = claimed(store, job_id)
        told = {
            "succeed": lambda: store.succeed(claim, {}),
            "fail": lambda: store.fail(claim, "no"),
            "cancelled": lambda: store.cancelled(claim),
        }
        told[end]()
    assert claim_due(queue, 10) == [Attempt(job_id, 1)]
    assert claim_due(queue, 10) == []  # one attempt at a time


def test_a_job_without_one_makes_nothing_due(store: JobStore, queue: WebhookQueue) -> None:
    store.request_cancel(store.create(request()))
    assert claim_due(queue, 10) == []


def test_an_attempt_whose_process_was_lost_is_followed_by_another(
    store: JobStore, queue: WebhookQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = ended(store)
    with monkeypatch.context() as patch:
        patch.setattr(webhooks, "LEASE_SECONDS", -1)
        (stale,) = claim_due(queue, 1)
    (attempt,) = claim_due(queue, 1)
    assert attempt == Attempt(job_id, 2)
    # Whatever the first one says now does not count.
    assert not queue.again(stale, -1)
    assert not queue.bury(stale, "no")
    assert not queue.delivered(stale)
    assert claim_due(queue, 1) == []
    assert queue.delivered(attempt)


def test_a_failed_one_is_due_after_its_pause(store: JobStore, queue: WebhookQueue) -> None:
    job_id = ended(store)
    (attempt,) = claim_due(queue, 1)
    assert queue.again(attempt, 3600)
    assert claim_due(queue, 1) == []
    assert queue.again(attempt, -1)
    assert claim_due(queue, 1) == [Attempt(job_id, 2)]


def test_what_was_delivered_leaves_nothing(store: JobStore, queue: WebhookQueue, redis: Redis) -> None:
    ended(store)
    (attempt,) = claim_due(queue, 1)
    assert queue.delivered(attempt)
    assert not queue.delivered(attempt)
    assert redis.keys("vitgan:webhook*") == []


def test_the_last_dead_ones_are_kept_with_their_reasons(
    store: JobStore, queue: WebhookQueue, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhooks, "KEEP_DEAD", 2)
    ids = [ended(store, f"cats{i}") for i in range(4)]
    for attempt in claim_due(queue, 10):
        assert queue.bury(attempt, f"no {attempt.job_id}")
    assert claim_due(queue, 10) == []
    assert [(letter.job_id, letter.reason) for letter in queue.dead()] == [
        (ids[3], f"no {ids[3]}"),
        (ids[2], f"no {ids[2]}"),
    ]
    assert redis.hlen(keys.WEBHOOK_REASONS) == 2
    assert redis.hlen(keys.WEBHOOK_ATTEMPTS) == 0


def test_several_are_claimed_oldest_first(store: JobStore, queue: WebhookQueue) -> None:
    ids = [ended(store, f"cats{i}") for i in range(3)]
    assert [attempt.job_id for attempt in claim_due(queue, 2)] == ids[:2]
    assert [attempt.job_id for attempt in claim_due(queue, 2)] == ids[2:]


def test_what_is_due_is_told_with_its_owner_and_receiver(store: JobStore, queue: WebhookQueue) -> None:
    job_id = store.create(request(), owner="alice", webhook="https://Example.org:8443/hook?x=1")
    store.request_cancel(job_id)
    for _ in range(2):  # read once, then known
        (due,) = queue.due(10)
        assert (due.job_id, due.owner, due.receiver) == (job_id, "alice", "example.org:8443")
    assert Due("", "", "https://[bad").receiver == "https://[bad"


def test_what_is_put_off_has_no_attempt(store: JobStore, queue: WebhookQueue) -> None:
    ids = [ended(store, f"cats{i}") for i in range(3)]
    (claimed,) = queue.claim(ids[:1])
    queue.put_off(ids, 3600)
    assert claim_due(queue, 10) == []
    assert queue.claim(ids) == []  # not due, though they are named
    assert queue.again(claimed, -1)
    assert claim_due(queue, 10) == [Attempt(ids[0], 2)]
    queue.put_off(ids, -1)
    assert claim_due(queue, 10) == []
