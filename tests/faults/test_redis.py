"""Redis under faults: killed, frozen, full. What was accepted is done once; what cannot be is refused."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from contract import keys
from contract.jobs import Job, JobStatus, JobStore
from tests.acceptance.processes import Processes, until
from tests.faults.stack import Valkey, children

pytestmark = [pytest.mark.faults, pytest.mark.timeout(240)]

ZIP = {"seeds": "0-39", "resolution": 256}
ASYNC = {"Prefer": "respond-async"}
TRAINING = {"dataset": "colours", "preset": "vitgan-ti-32"}


@pytest.fixture(scope="module")
def zipped(stack: Processes) -> bytes:
    """What ``ZIP`` is answered with."""
    return stack.draw("/generate", **ZIP)


def train(stack: Processes, name: str, kimg: float) -> str:
    with stack.http() as http:
        answer = http.post("/train", json=TRAINING | {"name": name, "kimg": kimg})
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def draw_later(stack: Processes, **body: object) -> str:
    with stack.http() as http:
        answer = http.post("/generate", json=body, headers=ASYNC)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def result(stack: Processes, job_id: str) -> bytes:
    with stack.http() as http:
        return http.get(f"/jobs/{job_id}/result").raise_for_status().content


def once(job: Job) -> tuple[JobStatus, int, int]:
    """How it ended, and in how many attempts and losses."""
    return job.status, job.attempts, job.losses


SUCCEEDED_ONCE = (JobStatus.SUCCEEDED, 1, 0)


def test_a_killed_redis_loses_no_job(stack: Processes, valkey: Valkey, zipped: bytes) -> None:
    """SIGKILL to Redis with jobs running and queued, and a restart on its append-only file 2 s later.

    The running training and drawing go on without it, the queued ones wait; each is done once.
    """
    store = JobStore(valkey.redis)
    running = [train(stack, "long", 0.512), draw_later(stack, **ZIP)]
    queued = [train(stack, "next", 0.064)]
    until(lambda: all(store.get(job).progress for job in running), 60)
    valkey.kill()
    time.sleep(2)
    valkey.start()
    queued += [draw_later_again(stack, seed=5, resolution=64)]
    for job in (*running, *queued):
        until(lambda job=job: store.get(job).status is JobStatus.SUCCEEDED, 90)  # type: ignore[misc]
        assert once(store.get(job)) == SUCCEEDED_ONCE
    assert result(stack, running[1]) == zipped
    until(lambda: stack.ready(1), 20)
    assert result(stack, queued[1]) == stack.draw("/generate", seed=5, resolution=64)
    assert all(process.poll() is None for process in stack.running)


def test_images_under_way_when_redis_is_killed_come_whole(stack: Processes, valkey: Valkey) -> None:
    """SIGKILL to Redis while three large images are drawn, and a restart 1 s later.

    Their frames are gone with it; each client gets the bytes that it would have got.
    """
    bodies = [{"seed": seed, "resolution": 2400} for seed in range(3)]
    wanted = [stack.draw("/generate", **body) for body in bodies]
    with ThreadPoolExecutor(len(bodies)) as clients:
        asked = [clients.submit(stack.draw, "/generate", **body) for body in bodies]
        until(lambda: all(image.done() for image in asked) or under_way(valkey) == 3, 20)
        time.sleep(0.3)  # until the worker has them
        assert not all(image.done() for image in asked)
        valkey.kill()
        time.sleep(1)
        valkey.start()
        assert [image.result(60) for image in asked] == wanted


def under_way(valkey: Valkey) -> int:
    """Images that admission counts."""
    return sum(json.loads(state)["images"] for state in valkey.redis.hvals(keys.GATES))  # type: ignore[union-attr]


def draw_later_again(stack: Processes, **body: object) -> str:
    """Asks until it is accepted: connections to the killed Redis fail once each."""
    accepted: list[str] = []

    def ask() -> bool:
        with stack.http() as http:
            answer = http.post("/generate", json=body, headers=ASYNC)
        assert answer.status_code in (202, 503)
        if answer.status_code == 202:
            accepted.append(answer.json()["id"])
        return bool(accepted)

    until(ask, 30)
    return accepted[0]


def frozen(valkey: Valkey, until_done: Callable[[], None]) -> None:
    valkey.freeze()
    try:
        until_done()
    finally:
        valkey.thaw()


def killed(valkey: Valkey, until_done: Callable[[], None]) -> None:
    valkey.kill()
    until_done()
    valkey.start()


@pytest.mark.parametrize("outage", [frozen, killed])
def test_what_ends_while_redis_is_away_is_kept(
    stack: Processes, valkey: Valkey, folder: Path, zipped: bytes, outage: Callable[..., None]
) -> None:
    """A training and a drawing end while Redis is frozen for 8 s, or dead: both have succeeded, once."""
    store, trainer = JobStore(valkey.redis), stack.running[2]
    training = train(stack, f"while-{outage.__name__}", 0.192)
    until(lambda: bool(store.get(training).progress), 60)
    drawing = draw_later(stack, **ZIP)
    until(lambda: store.get(drawing).status is not JobStatus.QUEUED, 30)
    before = [store.get(job).status for job in (training, drawing)]
    assert before == [JobStatus.RUNNING] * 2
    started = time.monotonic()

    def both_end() -> None:
        until(lambda: not children(trainer.pid) and (folder / f"results/{drawing}.zip").exists(), 60)
        time.sleep(max(0.0, started + 8 - time.monotonic()))

    outage(valkey, both_end)
    for job in (training, drawing):
        until(lambda job=job: store.get(job).status is JobStatus.SUCCEEDED, 60)  # type: ignore[misc]
    if time.monotonic() - started < 20:  # the leases have not run out
        assert once(store.get(training)) == once(store.get(drawing)) == SUCCEEDED_ONCE
    assert result(stack, drawing) == zipped
    with stack.http() as http:
        body = {"seed": 1, "resolution": 32, "model": f"while-{outage.__name__}"}
        until(lambda: http.post("/generate", json=body).status_code == 200, 20)


def test_a_full_redis_refuses_and_recovers(stack: Processes, valkey: Valkey) -> None:
    """``maxmemory`` is set below what is used: every POST is 503 with Retry-After, and no process ends.

    What ran goes on; when there is room again, images are drawn and jobs are taken as before.
    """
    store = JobStore(valkey.redis)
    training = train(stack, "in-a-full-redis", 0.32)
    until(lambda: bool(store.get(training).progress), 60)
    asked = [
        ("/generate", {"seed": 1, "resolution": 64}, {}),
        ("/generate", {"seed": 1, "resolution": 64}, ASYNC),
        ("/interpolate", {"seeds": [1, 2], "frames": 4, "resolution": 32}, {}),
        ("/train", TRAINING | {"name": "refused", "kimg": 1}, {}),
    ]
    valkey.redis.config_set("maxmemory", 1)
    try:
        with stack.http() as http:
            for route, body, headers in asked:
                answer = http.post(route, json=body, headers=headers)
                assert answer.status_code == 503, (route, answer.text)
                assert int(answer.headers["retry-after"]) > 0
                assert "memory of Redis is full" in answer.json()["detail"]
            assert http.get("/healthz").status_code == http.get(f"/jobs/{training}").status_code == 200
        time.sleep(5)
    finally:
        valkey.redis.config_set("maxmemory", 0)
    assert all(process.poll() is None for process in stack.running)
    with stack.http() as http:
        until(lambda: http.post(asked[0][0], json=asked[0][1]).status_code == 200, 30)
        names = {job["request"].get("name") for job in http.get("/jobs").json()["items"]}
        assert "refused" not in names
    until(lambda: store.get(training).status is JobStatus.SUCCEEDED, 60)
    later = draw_later_again(stack, seed=6, resolution=64)
    until(lambda: store.get(later).status is JobStatus.SUCCEEDED, 30)


def test_a_request_that_is_sent_again_over_a_frozen_redis_is_one_job(
    stack: Processes, valkey: Valkey
) -> None:
    """Redis is frozen for 8 s; the client sends its POST with one Idempotency-Key until it is taken."""
    with stack.http() as http:
        before = {job["id"] for job in http.get("/jobs").json()["items"]}
        valkey.freeze()
        thaw = threading.Timer(8, valkey.thaw)
        thaw.start()
        body, headers = {"seed": 77, "resolution": 64}, ASYNC | {"Idempotency-Key": "one-of-a-kind"}
        answers = []

        def taken() -> bool:
            with contextlib.suppress(httpx.ReadTimeout):
                answers.append(http.post("/generate", json=body, headers=headers, timeout=3))
            return bool(answers) and answers[-1].status_code == 202

        until(taken, 60)
        thaw.join()
        again = http.post("/generate", json=body, headers=headers)
        assert again.json()["id"] == answers[-1].json()["id"]
        made = [job for job in http.get("/jobs").json()["items"] if job["id"] not in before]
    assert [job["request"]["seed"] for job in made] == [77]
