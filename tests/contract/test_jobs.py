from __future__ import annotations

import pytest
from redis import Redis

from contract import jobs, keys
from contract.jobs import Beat, Claim, JobFinishedError, JobStatus, JobStore, NameTakenError
from contract.messages import TrainRequest


@pytest.fixture
def store(redis: Redis) -> JobStore:
    return JobStore(redis)


def request(name: str = "cats") -> TrainRequest:
    return TrainRequest(dataset="pictures", preset="vitgan-ti-32", name=name, kimg=1, seed=0)


def claimed(store: JobStore, job_id: str) -> Claim[TrainRequest]:
    claim = store.claim(job_id, TrainRequest)
    assert claim is not None
    return claim


def test_a_new_job_is_queued_and_knows_its_place(store: JobStore) -> None:
    ids = [store.create(request(f"cats{i}")) for i in range(3)]
    assert [store.get(i).position for i in ids] == [0, 1, 2]
    job = store.get(ids[0])
    assert (job.status, job.attempts, job.kind) == (JobStatus.QUEUED, 0, "train")
    assert job.request == request("cats0").model_dump()


def test_two_unfinished_jobs_cannot_make_one_name(store: JobStore) -> None:
    first = store.create(request())
    with pytest.raises(NameTakenError):
        store.create(request())
    store.request_cancel(first)
    store.create(request())


def test_a_job_is_claimed_once(store: JobStore) -> None:
    job_id = store.create(request())
    claim = claimed(store, job_id)
    assert claim.request == request()
    assert store.claim(job_id, TrainRequest) is None
    assert store.get(job_id).status is JobStatus.RUNNING
    assert store.get(job_id).position is None


def test_after_the_lease_another_claims_and_the_first_has_lost(
    store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "LEASE_SECONDS", -1)
    job_id = store.create(request())
    first, second = claimed(store, job_id), claimed(store, job_id)
    assert second.fence > first.fence
    assert store.beat(first, {"kimg": 9}) is Beat.LOST
    assert not store.succeed(first, {"model": "cats"})
    assert not store.release(first)
    job = store.get(job_id)
    assert (job.status, job.attempts, job.progress) == (JobStatus.RUNNING, 2, None)
    assert store.succeed(second, {"model": "cats"})


def test_a_beat_renews_the_lease_and_tells_progress(store: JobStore, redis: Redis) -> None:
    job_id = store.create(request())
    claim = claimed(store, job_id)
    redis.hset(keys.job(job_id), "lease", 0)
    assert store.beat(claim, {"kimg": 0.5}) is Beat.GO_ON
    assert store.claim(job_id, TrainRequest) is None
    assert store.get(job_id).progress == {"kimg": 0.5}


def test_a_queued_cancel_is_final(store: JobStore) -> None:
    job_id = store.create(request())
    store.request_cancel(job_id)
    assert store.get(job_id).status is JobStatus.CANCELLED
    assert store.claim(job_id, TrainRequest) is None
    with pytest.raises(JobFinishedError):
        store.request_cancel(job_id)


def test_a_running_job_learns_of_its_cancel_at_the_next_beat(store: JobStore) -> None:
    claim = claimed(store, store.create(request()))
    store.request_cancel(claim.job_id)
    assert store.beat(claim) is Beat.CANCEL
    assert store.cancelled(claim)
    assert store.get(claim.job_id).status is JobStatus.CANCELLED


@pytest.mark.parametrize("end", ["succeed", "fail"])
def test_a_job_ends_once(store: JobStore, end: str) -> None:
    claim = claimed(store, store.create(request()))
    told = {
        "succeed": lambda: store.succeed(claim, {"model": "cats"}),
        "fail": lambda: store.fail(claim, "no"),
    }
    assert told[end]()
    assert not store.fail(claim, "later")
    job = store.get(claim.job_id)
    assert job.finished_at is not None
    assert (job.status, job.error) in {(JobStatus.SUCCEEDED, None), (JobStatus.FAILED, "no")}


def test_a_released_job_can_be_claimed_again_at_once(store: JobStore) -> None:
    claim = claimed(store, store.create(request()))
    assert store.release(claim)
    assert store.get(claim.job_id).status is JobStatus.QUEUED
    assert claimed(store, claim.job_id).fence > claim.fence


def test_unknown_jobs_are_key_errors(store: JobStore) -> None:
    for call in (store.get, store.request_cancel):
        with pytest.raises(KeyError):
            call("nobody")
    assert store.claim("nobody", TrainRequest) is None


def test_jobs_are_listed_newest_first_in_pages(store: JobStore) -> None:
    ids = [store.create(request(f"cats{i}")) for i in range(5)]
    first = [job.id for job in store.list(3)]
    assert first == ids[:1:-1]
    assert [job.id for job in store.list(3, before=first[-1])] == [ids[1], ids[0]]
