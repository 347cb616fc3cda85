"""Trainings under faults: workers killed, frozen, stopped; doorbells lost and rung twice. Nothing is lost."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from redis import Redis

from contract import keys
from contract.jobs import Job, JobStatus, JobStore
from contract.models import WEIGHTS
from contract.queue import TRAIN, TRAIN_TASK, make_celery
from tests.acceptance.processes import Processes, until
from tests.conftest import write_pictures
from tests.faults.stack import children, is_gone

pytestmark = [pytest.mark.faults, pytest.mark.timeout(240)]

BODY = {"dataset": "colours", "preset": "vitgan-ti-32", "name": "made", "kimg": 0.256}


def train(service: Processes, **more: object) -> str:
    with service.http() as http:
        answer = http.post("/train", json=BODY | more)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def wait(store: JobStore, job_id: str, *status: JobStatus, seconds: float = 150) -> Job:
    until(lambda: store.get(job_id).status in status, seconds)
    return store.get(job_id)


def has_checkpoint(folder: Path, job_id: str) -> bool:
    return any((folder / "runs" / job_id).glob("*/checkpoint-*.pt"))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The weights that the training makes when nothing goes wrong, by the command itself."""
    folder = tmp_path_factory.mktemp("undisturbed")
    pictures = write_pictures(folder / "pictures.zip")
    command = "train {} --preset vitgan-ti-32 --kimg {} --tick 0.1 --threads 1 --out {}"
    words = command.format(pictures, BODY["kimg"], folder / "run").split()
    subprocess.run([sys.executable, "-m", "cli", *words], check=True, capture_output=True)
    return (folder / "run" / "model" / WEIGHTS).read_bytes()


def test_a_killed_workers_training_goes_on_to_the_same_bits(
    service: Processes, store: JobStore, tmp_path: Path, undisturbed: bytes
) -> None:
    first = service.start("trainer")
    job_id = train(service)
    until(lambda: has_checkpoint(tmp_path, job_id), 60)
    (training,) = children(first.pid)
    first.kill()
    first.wait()
    until(lambda: is_gone(training), 20)  # it does not go on without its worker
    service.start("trainer")
    job = wait(store, job_id, JobStatus.SUCCEEDED, JobStatus.FAILED)
    assert (job.status, job.attempts, job.losses) == (JobStatus.SUCCEEDED, 2, 1)
    assert (tmp_path / "models" / "made" / WEIGHTS).read_bytes() == undisturbed


def test_a_frozen_worker_comes_back_as_a_zombie_and_changes_nothing(
    service: Processes, store: JobStore, tmp_path: Path, undisturbed: bytes
) -> None:
    zombie = service.start("trainer")
    job_id = train(service)
    until(lambda: has_checkpoint(tmp_path, job_id), 60)
    (training,) = children(zombie.pid)
    for pid in (zombie.pid, training):
        subprocess.run(["kill", "-STOP", str(pid)], check=True)
    service.start("trainer")
    until(lambda: store.get(job_id).attempts == 2, 60)
    for pid in (training, zombie.pid):
        subprocess.run(["kill", "-CONT", str(pid)], check=True)
    job = wait(store, job_id, JobStatus.SUCCEEDED, JobStatus.FAILED)
    assert (job.status, job.losses) == (JobStatus.SUCCEEDED, 1)
    assert (tmp_path / "models" / "made" / WEIGHTS).read_bytes() == undisturbed
    until(lambda: is_gone(training), 30)
    runs = sorted(path.name for path in (tmp_path / "runs" / job_id).iterdir())
    assert runs[0] == "000001"  # each has written into a folder of its own
    assert len(runs) == 2


def test_a_doorbell_that_was_lost_with_its_worker_rings_again(
    service: Processes, store: JobStore, redis: Redis
) -> None:
    frozen = service.start("trainer")
    until(lambda: bool(redis.zcard(keys.workers(TRAIN))), 60)
    frozen.send_signal(signal.SIGSTOP)
    job_id = train(service, kimg=0.064)
    time.sleep(1)
    redis.delete(keys.of_version(TRAIN))  # as if it had been popped
    frozen.kill()
    frozen.wait()
    service.start("trainer")
    assert wait(store, job_id, JobStatus.SUCCEEDED).attempts == 1


def test_four_doorbells_are_one_run(service: Processes, store: JobStore, valkey_url: str) -> None:
    job_id = train(service, kimg=0.064)
    celery = make_celery(valkey_url)
    for _ in range(3):
        celery.send_task(TRAIN_TASK, (job_id,))
    celery.close()
    service.start("trainer")
    service.start("trainer")
    assert wait(store, job_id, JobStatus.SUCCEEDED).attempts == 1
    time.sleep(2)
    assert store.get(job_id).attempts == 1


def test_a_job_cancelled_while_queued_never_runs(service: Processes, store: JobStore, tmp_path: Path) -> None:
    job_id = train(service)
    with service.http() as http:
        assert http.delete(f"/jobs/{job_id}").json()["status"] == "cancelled"
    service.start("trainer")
    later = train(service, name="later", kimg=0.064)
    wait(store, later, JobStatus.SUCCEEDED)
    assert (store.get(job_id).status, store.get(job_id).attempts) == (JobStatus.CANCELLED, 0)
    assert not (tmp_path / "runs" / job_id).exists()


def test_a_job_that_kills_its_workers_fails_and_others_go_on(service: Processes, store: JobStore) -> None:
    poison = train(service, name="poison", kimg=1000)
    for attempt in range(1, 4):
        worker = service.start("trainer")
        until(lambda count=attempt: store.get(poison).attempts == count, 60)  # type: ignore[misc]
        worker.kill()
        worker.wait()
    job = wait(store, poison, JobStatus.FAILED)
    assert job.error == "its worker was lost 3 times, so it is not tried again"
    service.start("trainer")
    wait(store, train(service, name="other", kimg=0.064), JobStatus.SUCCEEDED)


def test_a_stopped_worker_is_out_in_ten_seconds_and_another_takes_over(
    service: Processes, store: JobStore, tmp_path: Path
) -> None:
    worker = service.start("trainer")
    job_id = train(service, kimg=1000)
    until(lambda: has_checkpoint(tmp_path, job_id), 60)
    started = time.monotonic()
    worker.terminate()
    worker.wait(10)
    assert time.monotonic() - started < 10
    assert store.get(job_id).status is JobStatus.QUEUED
    service.start("trainer")
    until(lambda: (store.get(job_id).progress or {}).get("kimg", 0) > 0.2, 60)
    assert (store.get(job_id).attempts, store.get(job_id).losses) == (2, 0)
    with service.http() as http:
        http.delete(f"/jobs/{job_id}")
    wait(store, job_id, JobStatus.CANCELLED, seconds=10)
