from __future__ import annotations

import pytest
from redis import Redis

from contract import job_machine, keys
from contract.job_turns import pixel_rate, pixels_left
from contract.jobs import (
    Beat,
    Claim,
    JobFinishedError,
    JobStatus,
    JobStore,
    NameTakenError,
    PixelsUsedError,
    RecordsFullError,
)
from contract.messages import DrawRequest, Images, Side, TrainRequest
from contract.webhooks import WebhookQueue


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


def test_a_lost_job_is_queued_again_and_its_worker_refused(
    store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_machine, "PAUSE_SECONDS", 0)
    job_id = store.create(request())
    first = lost(store, monkeypatch, job_id)
    assert store.reap() == [job_id]
    assert (store.get(job_id).status, store.get(job_id).position) == (JobStatus.QUEUED, 0)
    assert store.beat(first, {"kimg": 9}) is Beat.LOST  # even before another has it
    assert not store.succeed(first, {"model": "cats"})
    assert not store.release(first)
    second = claimed(store, job_id)
    assert second.fence > first.fence
    assert store.beat(first) is Beat.LOST
    job = store.get(job_id)
    assert (job.status, job.attempts, job.losses, job.progress) == (JobStatus.RUNNING, 2, 1, None)
    assert store.reap() == []  # its lease is new
    assert store.succeed(second, {"model": "cats"})


def lost(store: JobStore, monkeypatch: pytest.MonkeyPatch, job_id: str) -> Claim[TrainRequest]:
    """Claimed by a worker whose lease has run out."""
    with monkeypatch.context() as patch:
        patch.setattr(job_machine, "LEASE_SECONDS", -1)
        return claimed(store, job_id)


def test_a_pause_follows_each_loss(store: JobStore, monkeypatch: pytest.MonkeyPatch, redis: Redis) -> None:
    job_id = store.create(request())

    def now() -> float:
        seconds, micros = redis.time()  # type: ignore[misc]
        return float(seconds) + micros / 1e6

    for pause in (2, 4):
        lost(store, monkeypatch, job_id)
        before = now()
        store.reap()
        after = now()
        until = float(redis.hget(keys.job(job_id), "not_before"))  # type: ignore[arg-type]
        assert before + pause - 1e-3 <= until <= after + pause + 1e-3  # Lua keeps some digits only
        assert store.claim(job_id, TrainRequest) is None
        assert store.due_rings() == []
        redis.hset(keys.job(job_id), "not_before", 0)


def test_after_the_last_loss_it_has_failed_with_the_reason(
    store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_machine, "PAUSE_SECONDS", 0)
    job_id = store.create(request())
    for _ in range(job_machine.MAX_LOSSES):
        lost(store, monkeypatch, job_id)
        store.reap()
    job = store.get(job_id)
    assert (job.status, job.losses) == (JobStatus.FAILED, 3)
    assert job.error == "its worker was lost 3 times, so it is not tried again"
    assert job.finished_at is not None
    assert (store.reap(), store.due_rings()) == ([], [])
    store.create(request())  # its name is free again


def test_a_cancel_that_its_worker_did_not_live_to_hear(
    store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = store.create(request())
    lost(store, monkeypatch, job_id)
    store.request_cancel(job_id)
    store.reap()
    assert store.get(job_id).status is JobStatus.CANCELLED


def test_a_doorbell_that_nobody_heard_rings_again(
    store: JobStore, monkeypatch: pytest.MonkeyPatch, redis: Redis
) -> None:
    monkeypatch.setattr(job_machine, "RING_SECONDS", -1)
    job_id = store.create(request())
    assert store.due_rings() == [(job_id, "train")]
    monkeypatch.undo()
    redis.zadd(keys.JOB_RINGS, {job_id: 0})
    assert store.due_rings() == [(job_id, "train")]
    assert store.due_rings() == []  # not before a while
    redis.zadd(keys.JOB_RINGS, {job_id: 0})
    claimed(store, job_id)
    assert store.due_rings() == []  # it was heard


def test_released_and_cancelled_jobs_ring_as_they_should(store: JobStore) -> None:
    released, cancelled = store.create(request("a")), store.create(request("b"))
    store.release(claimed(store, released))
    store.request_cancel(cancelled)
    assert store.due_rings() == [(released, "train")]


def test_one_process_reaps_at_a_time(store: JobStore, redis: Redis) -> None:
    assert store.elect("first", 5)
    assert not store.elect("second", 5)
    assert store.elect("first", 5)
    redis.delete(keys.REAPER)  # its term is over
    assert store.elect("second", 5)


def test_a_beat_renews_the_lease_and_tells_progress(store: JobStore, redis: Redis) -> None:
    job_id = store.create(request())
    claim = claimed(store, job_id)
    redis.zadd(keys.JOBS_RUNNING, {job_id: 0})
    assert store.beat(claim, {"kimg": 0.5}) is Beat.GO_ON
    assert store.reap() == []
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


def test_each_owners_jobs_are_listed_in_pages_of_their_own(store: JobStore) -> None:
    ids = [store.create(request(f"cats{i}"), owner="ab"[i % 2]) for i in range(7)]
    mine = ids[::-2]  # of "a", newest first
    assert [store.get(i).owner for i in mine] == ["a"] * 4
    first = store.list(3, owner="a")
    assert [job.id for job in first] == mine[:3]
    assert [job.id for job in store.list(3, before=first[-1].id, owner="a")] == mine[3:]
    with pytest.raises(KeyError):
        store.list(3, before=ids[1], owner="a")  # not theirs
    assert len(store.list(100)) == 7
    assert store.list(3, owner="nobody") == []


def test_an_owner_and_a_webhook_are_kept_but_not_shown(store: JobStore) -> None:
    job = store.get(store.create(request(), owner="me", webhook="https://example.org/secret"))
    assert (job.owner, job.webhook) == ("me", "https://example.org/secret")
    assert not {"owner", "webhook"} & set(job.model_dump())
    assert store.get(store.create(request("dogs"))).owner == "anonymous"


def test_long_after_its_end_nothing_is_left_of_a_job(
    store: JobStore, monkeypatch: pytest.MonkeyPatch, redis: Redis
) -> None:
    job_id = store.create(request(), owner="me", webhook="https://example.org")
    store.fail(claimed(store, job_id), "no")
    (attempt,) = WebhookQueue(redis).claim([due.job_id for due in WebhookQueue(redis).due(1)])
    WebhookQueue(redis).bury(attempt, "nobody there")
    unfinished = store.create(request("dogs"), owner="you")
    other = store.create(request("mice"), owner="me")
    claimed(store, other)
    store.request_cancel(store.create(request("rats"), webhook="https://example.org"))
    assert store.forget() == []
    monkeypatch.setattr(job_machine, "KEEP_SECONDS", 0)
    assert job_id in store.forget()
    assert store.forget() == []
    with pytest.raises(KeyError):
        store.get(job_id)
    assert [job.id for job in store.list(10)] == [other, unfinished]
    assert [job.id for job in store.list(10, owner="me")] == [other]
    for running in (unfinished, other):
        store.request_cancel(running)
    claim = Claim(other, 1, request("mice"))
    store.cancelled(claim)
    store.forget()
    assert redis.keys("vitgan:*") == []


def test_a_cancelled_job_is_forgotten_after_an_hour(store: JobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    cancelled, failed = store.create(request()), store.create(request("dogs"))
    store.fail(claimed(store, failed), "no")
    store.request_cancel(cancelled)
    assert store.forget() == []
    assert job_machine.CANCELLED_SECONDS == 3600
    hour_later = job_machine.KEEP_SECONDS - 3600.0
    monkeypatch.setattr(job_machine, "KEEP_SECONDS", hour_later)
    assert store.forget() == [cancelled]


def test_of_an_owner_only_so_much_is_kept(
    store: JobStore, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Created and cancelled again and again: the oldest ended ones go, what is unfinished stays."""
    record = job_machine.RECORD_BYTES
    monkeypatch.setattr(job_machine, "MOST_KEPT_BYTES", 4 * record)
    monkeypatch.setattr(job_machine, "MOST_BYTES", 10 * record)
    other, unfinished = store.create(request(), owner="you"), store.create(request("dogs"), owner="me")
    ended = [store.create(request(f"cats{number}"), owner="me") for number in range(8)]
    for job_id in ended:
        store.request_cancel(job_id)
    with pytest.raises(RecordsFullError):
        store.create(request("one-more"), owner="me")
    assert set(store.trim()) == set(ended[:-2])  # its record and two more are under four
    assert int(redis.hget(keys.JOB_BYTES, "me") or 0) <= 4 * record  # type: ignore[arg-type]
    assert [job.id for job in store.list(20, owner="me")] == [*reversed(ended[-2:]), unfinished]
    assert store.get(other).id == other
    assert not redis.exists(keys.job(ended[0]), keys.job_events(ended[0]))
    store.create(request("mice"), owner="me")
    monkeypatch.setattr(job_machine, "MOST_KEPT", 3)
    assert store.trim() == ended[-2:-1]


def test_ten_thousand_seeds_in_a_row_take_little(store: JobStore, redis: Redis) -> None:
    side = Side.whole(8)
    for seeds in (tuple(range(10_000)), (3, 1, 2, 7)):
        what = Images(seeds=seeds, truncation=1, columns=side, rows=side, zipped=True)
        job_id = store.create(DrawRequest(model="m", digest="d", what=what))
        claim = store.claim(job_id, DrawRequest)
        assert claim is not None
        assert claim.request.what.seeds == seeds
        assert len(redis.hget(keys.job(job_id), "request") or "") < 1000  # type: ignore[arg-type]


def test_a_page_leaves_out_what_is_forgotten_meanwhile(store: JobStore, redis: Redis) -> None:
    ids = [store.create(request(f"cats{i}")) for i in range(3)]
    redis.delete(keys.job(ids[1]))
    assert [job.id for job in store.list(3)] == [ids[2], ids[0]]


def test_a_doorbell_of_another_kind_takes_no_job(redis: Redis) -> None:
    store = JobStore(redis)
    job_id = store.create(TrainRequest(dataset="d", preset="vitgan-ti-32", name="n", kimg=1, seed=0))
    assert store.claim(job_id, DrawRequest) is None
    assert store.claim(job_id, TrainRequest) is not None


def drawing(side: int = 8) -> DrawRequest:
    whole = Side.whole(side)
    return DrawRequest(
        model="m", digest="d", what=Images(seeds=(1,), truncation=1, columns=whole, rows=whole)
    )


def test_owners_take_turns(store: JobStore) -> None:
    """Whatever job is rung for; with one worker, and while another's jobs run."""
    first = [store.create(drawing(), "a") for _ in range(4)]
    other = [store.create(drawing(), "b") for _ in range(2)]

    def turn() -> str:
        claim = store.claim_next(first[0], DrawRequest)
        assert claim is not None
        taken.append(claim)
        return claim.job_id

    taken: list[Claim[DrawRequest]] = []
    assert turn() == first[0]
    store.succeed(taken.pop(), {})
    assert turn() == other[0]  # "a" has had its turn
    assert turn() == first[1]
    late = store.create(drawing(), "c")
    assert turn() == late  # of whom none runs
    assert [turn() for _ in range(3)] == [other[1], first[2], first[3]]
    assert store.claim_next(first[0], DrawRequest) is None


def test_an_owners_unfinished_pixels_are_bounded_but_one_job_alone_may_have_more(store: JobStore) -> None:
    first = store.create(drawing(100), "a", most_pixels=5_000)
    with pytest.raises(PixelsUsedError):
        store.create(drawing(1), "a", most_pixels=5_000)
    store.create(drawing(100), "b", most_pixels=5_000)
    store.create(request(), "a", most_pixels=5_000)  # a training has none
    store.request_cancel(first)
    store.create(drawing(50), "a", most_pixels=5_000)
    store.create(drawing(50), "a", most_pixels=5_000)
    assert pixels_left(store.redis) == 15_000


def test_how_fast_jobs_go_is_known_from_the_last_ones(store: JobStore) -> None:
    assert pixel_rate(store.redis) is None
    job_id = store.create(drawing(100))
    claim = store.claim(job_id, DrawRequest)
    assert claim is not None
    store.succeed(claim, {})
    store.redis.hset(keys.job(job_id), mapping={"started_at": 10, "finished_at": 14})
    store.request_cancel(store.create(drawing(100)))
    assert pixel_rate(store.redis) == 2500
