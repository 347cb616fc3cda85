"""Jobs are let in up to a bound, and rung for later if Redis is away for a moment."""

from __future__ import annotations

import asyncio

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from app.auth import Client
from app.errors import QuotaUsed
from app.queueing import queue_job
from app.reaper import Reaper
from contract import keys
from contract.jobs import JobStatus, JobStore
from contract.messages import DrawRequest, TrainRequest
from contract.queue import TRAIN
from tests.app.conftest import Api, Start
from tests.app.test_generate import refused

ASYNC = {"Prefer": "respond-async"}


async def test_more_jobs_than_may_wait_are_refused(start: Start) -> None:
    api = await start(max_queued_jobs=3)
    calls = [api.http.post("/generate", json={"seed": n}, headers=ASYNC) for n in range(10)]
    answers = await asyncio.gather(*calls)
    assert sorted(answer.status_code for answer in answers) == [202] * 3 + [503] * 7
    told = next(answer for answer in answers if answer.status_code == 503)
    refused(told, 503, "3 jobs are waiting already")
    assert int(told.headers["retry-after"]) >= 1
    job = api.services.jobs.list(1)[0]
    await api.http.delete(f"/jobs/{job.id}")
    assert (await api.http.post("/generate", json={}, headers=ASYNC)).status_code == 202


async def test_a_client_has_so_many_unfinished_jobs(api: Api) -> None:
    client = Client("a", "a", frozenset(), max_jobs=2)

    def ask(name: str, of: Client = client) -> str:
        request = TrainRequest(dataset="d", preset="vitgan-ti-32", name=name, kimg=1, seed=0)
        return queue_job(request, (name * 32)[:32], None, api.services, of).id

    first, _ = ask("a"), ask("b")
    with pytest.raises(QuotaUsed, match="2 unfinished jobs"):
        ask("c")
    ask("d", Client("other", "other", frozenset(), max_jobs=2))
    api.services.jobs.request_cancel(first)
    ask("c")


async def test_a_jobs_pixels_are_bounded(start: Start) -> None:
    api = await start()
    endless = {"seeds": "0-9999", "resolution": 65_536}
    refused(await api.http.post("/generate", json=endless, headers=ASYNC), 422, "in one job", "fewer seeds")


async def test_one_clients_jobs_have_so_many_pixels(start: Start) -> None:
    api = await start(max_client_job_pixels=100_000)
    large = {"seeds": "0-2", "resolution": 256}
    assert (await api.http.post("/generate", json=large, headers=ASYNC)).status_code == 202
    answer = await api.http.post("/generate", json={"resolution": 256}, headers=ASYNC)
    refused(answer, 429, "the unfinished jobs of one client may have 100000 pixels")
    assert int(answer.headers["retry-after"]) >= 1


async def test_a_key_without_a_bound_of_its_own_has_the_services(start: Start) -> None:
    api = await start(max_client_jobs=1)
    client = Client("a", "a", frozenset())
    for job_id, name in ((32 * "a", "a"), (32 * "b", "b")):
        request = TrainRequest(dataset="d", preset="vitgan-ti-32", name=name, kimg=1, seed=0)
        if name == "a":
            queue_job(request, job_id, None, api.services, client)
        else:
            with pytest.raises(QuotaUsed, match="1 unfinished jobs"):
                queue_job(request, job_id, None, api.services, client)


async def test_the_answer_estimates_how_long_it_takes(api: Api) -> None:
    first = await api.http.post("/generate", json={"seeds": "0-9", "resolution": 100}, headers=ASYNC)
    assert first.json()["estimate"] == {"pixels": 100_000, "pixels_before": 0, "seconds": None}
    store = api.services.jobs
    claim = store.claim(first.json()["id"], DrawRequest)
    assert claim is not None
    store.succeed(claim, {})
    store.redis.hset(keys.job(claim.job_id), mapping={"started_at": 0, "finished_at": 10})
    for before, seconds in ((0, 1), (10_000, 2)):
        again = await api.http.post("/generate", json={"resolution": 100}, headers=ASYNC)
        assert again.json()["estimate"] == {"pixels": 10_000, "pixels_before": before, "seconds": seconds}


async def test_a_job_that_nobody_could_be_told_of_is_kept(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*told: object, queue: str) -> None:
        raise OSError("no broker")

    monkeypatch.setattr(api.services.celery, "send_task", away)
    answer = await api.http.post("/generate", json={}, headers=ASYNC)
    assert answer.status_code == 202
    job = api.services.jobs.get(answer.json()["id"])
    assert job.status is JobStatus.QUEUED  # the reaper rings for it


async def test_no_doorbells_pile_up_where_the_workers_are_only_busy(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    rung: list[object] = []
    monkeypatch.setattr(api.services.celery, "send_task", lambda *told, **_: rung.append(told))
    store = api.services.jobs
    reaper = Reaper(store, api.services.celery, api.services.fleet)
    store.redis.set(keys.REAPER, reaper.id)
    (job_id,) = [store.create(TrainRequest(dataset="d", preset="vitgan-ti-32", name="n", kimg=1, seed=0))]
    for waiting, times in ((1, 0), (0, 1)):
        store.redis.delete(keys.of_version(TRAIN))
        for _ in range(waiting):
            store.redis.rpush(keys.of_version(TRAIN), "a message")
        store.redis.zadd(keys.JOB_RINGS, {job_id: 0})  # due now
        reaper.look()
        assert len(rung) == times


async def test_no_lease_ends_with_an_outage_of_redis(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Redis is away for longer than a lease; when it is back, the workers are given time to beat."""
    monkeypatch.setattr("app.reaper.LOOK_SECONDS", 0.01)
    monkeypatch.setattr("app.reaper.GRACE_SECONDS", 3)
    store = JobStore(api.services.jobs.redis)
    reaper = Reaper(store, api.services.celery, api.services.fleet)
    store.redis.set(keys.REAPER, reaper.id)  # the service's own one is not elected
    job_id = store.create(TrainRequest(dataset="d", preset="vitgan-ti-32", name="n", kimg=1, seed=0))
    assert store.claim(job_id, TrainRequest)
    looks = 0

    def elect(*told: object) -> bool:
        nonlocal looks
        looks += 1
        if looks == 2:
            store.redis.zadd(keys.JOBS_RUNNING, {job_id: 1})  # its lease has run out meanwhile
        if looks <= 2:
            raise RedisConnectionError("away")
        return True

    monkeypatch.setattr(store, "elect", elect)
    looking = asyncio.create_task(reaper.look_forever())
    while looks <= 5:
        await asyncio.sleep(0.05)
    assert store.get(job_id).status is JobStatus.RUNNING
    while store.get(job_id).status is JobStatus.RUNNING:  # nobody has beaten, so it is lost after all
        await asyncio.sleep(0.05)
    assert store.get(job_id).losses == 1
    looking.cancel()
