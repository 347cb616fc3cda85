"""Real trainings: real subprocesses, a real Valkey, the smallest preset for a few steps."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest
from redis import Redis

from contract import keys
from contract.jobs import Job, JobStatus, JobStore
from contract.messages import TrainRequest
from contract.models import ModelLibrary
from tests.conftest import write_pictures
from tests.faults.stack import children
from tests.full_disk import SmallDisk, small_disk
from worker import trainer
from worker.settings import WorkerSettings
from worker.trainer import END_SECONDS, Training, run_job

__all__ = ["small_disk"]


@pytest.fixture
def settings(tmp_path: Path, valkey_url: str) -> WorkerSettings:
    settings = WorkerSettings(redis_url=valkey_url, data_dir=tmp_path / "var", threads=1)
    write_pictures(settings.datasets_dir / "colours" / "pictures.zip")
    return settings


@pytest.fixture
def store(redis: Redis) -> JobStore:
    return JobStore(redis)


def request(kimg: float, dataset: str = "colours") -> TrainRequest:
    return TrainRequest(dataset=dataset, preset="vitgan-ti-32", name="made", kimg=kimg, seed=0)


class Running:
    """``run_job`` in a thread, as a worker has it."""

    def __init__(self, job_id: str, store: JobStore, settings: WorkerSettings) -> None:
        self.job_id, self.store = job_id, store
        self.stopping = threading.Event()
        self.ring_again: bool | None = None
        self.thread = threading.Thread(target=self._run, args=(settings,))
        self.thread.start()

    def _run(self, settings: WorkerSettings) -> None:
        self.ring_again = run_job(self.job_id, self.store, settings, self.stopping)

    def until_progress(self) -> None:
        until = time.monotonic() + 60
        while self.job().progress is None:
            assert time.monotonic() < until, "no progress in a minute"
            time.sleep(0.1)

    def job(self) -> Job:
        return self.store.get(self.job_id)

    def end(self) -> Job:
        self.thread.join(timeout=90)
        assert not self.thread.is_alive()
        return self.job()


def test_a_training_ends_as_a_published_model(store: JobStore, settings: WorkerSettings) -> None:
    running = Running(store.create(request(kimg=0.13)), store, settings)
    job = running.end()
    assert job.status is JobStatus.SUCCEEDED, job.error
    model = ModelLibrary(settings.trained_models_dir).get("made")
    assert job.result == {"model": "made", "digest": model.digest}
    assert job.progress is not None
    assert job.progress["kimg"] == job.progress["total_kimg"] == model.config["kimg"] == 0.16  # whole batches
    assert job.progress["eta_seconds"] == 0
    assert running.ring_again is False


def test_a_training_that_cannot_run_fails_with_a_sentence(store: JobStore, settings: WorkerSettings) -> None:
    job = Running(store.create(request(kimg=1, dataset="absent")), store, settings).end()
    assert job.status is JobStatus.FAILED
    assert job.error is not None
    assert "does not exist" in job.error
    assert "Traceback" not in job.error


def test_a_cancelled_training_stops_and_publishes_nothing(store: JobStore, settings: WorkerSettings) -> None:
    running = Running(store.create(request(kimg=1000)), store, settings)
    running.until_progress()
    store.request_cancel(running.job_id)
    assert running.end().status is JobStatus.CANCELLED
    assert ModelLibrary(settings.trained_models_dir).list() == []


DEAF = """
import json, signal, time
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, signal.SIG_IGN)
print(json.dumps({"kimg": 1}), flush=True)
time.sleep(600)
"""


@pytest.fixture
def deaf(store: JobStore, settings: WorkerSettings, monkeypatch: pytest.MonkeyPatch) -> Running:
    """A training under way that hears no signal."""
    monkeypatch.setattr(trainer, "command", lambda *_: [sys.executable, "-c", DEAF])
    running = Running(store.create(request(kimg=1)), store, settings)
    running.until_progress()
    return running


@pytest.fixture
def ends(monkeypatch: pytest.MonkeyPatch) -> list[tuple[float, int | None]]:
    """The patience and the exit code of each training that is stopped.

    How long that takes on a loaded machine says nothing; the patience that it is given does.
    """
    found: list[tuple[float, int | None]] = []
    stop = Training.stop

    def recorded(self: Training, seconds: float) -> None:
        stop(self, seconds)
        found.append((seconds, self.process.returncode))

    monkeypatch.setattr(Training, "stop", recorded)
    return found


def test_a_cancelled_training_that_hears_nothing_is_killed(
    deaf: Running, store: JobStore, ends: list[tuple[float, int | None]]
) -> None:
    store.request_cancel(deaf.job_id)
    assert deaf.end().status is JobStatus.CANCELLED
    assert ends == [(END_SECONDS, -signal.SIGKILL)]


def test_a_lost_training_that_hears_nothing_is_killed(
    deaf: Running, store: JobStore, redis: Redis, ends: list[tuple[float, int | None]]
) -> None:
    while not store.reap():
        redis.zadd(keys.JOBS_RUNNING, {deaf.job_id: 0})  # its lease has run out, unless it beats just now
    assert deaf.end().status is JobStatus.QUEUED
    assert ends == [(END_SECONDS, -signal.SIGKILL)]
    assert not deaf.ring_again  # the reaper rings


def test_a_stopped_worker_gives_the_job_back_and_the_next_one_resumes(
    store: JobStore, settings: WorkerSettings
) -> None:
    first = Running(store.create(request(kimg=1000)), store, settings)
    first.until_progress()
    first.stopping.set()
    job = first.end()
    assert (job.status, first.ring_again) == (JobStatus.QUEUED, True)
    (newest, *_) = sorted((settings.runs_dir / job.id).glob("*/checkpoint-*.pt"), reverse=True)
    seen = int(newest.stem.split("-")[1]) / 1000
    assert seen > 0

    second = Running(job.id, store, settings)
    until = time.monotonic() + 60
    while (progress := second.job().progress or {}).get("kimg", 0) <= seen:
        assert time.monotonic() < until
        time.sleep(0.1)
    assert progress["kimg"] < seen + 10
    store.request_cancel(job.id)
    assert second.end().attempts == 2


def test_a_stopping_worker_claims_nothing(store: JobStore, settings: WorkerSettings) -> None:
    job_id = store.create(request(kimg=1))
    stopping = threading.Event()
    stopping.set()
    assert run_job(job_id, store, settings, stopping)
    assert store.get(job_id).attempts == 0


def test_a_training_that_is_killed_is_tried_again_like_one_whose_worker_was_lost(
    store: JobStore, settings: WorkerSettings
) -> None:
    """Its lease runs out; it does not fail at the first time that memory was short."""
    running = Running(store.create(request(kimg=1000)), store, settings)
    running.until_progress()
    (training,) = children(os.getpid(), "train")
    os.kill(training, signal.SIGKILL)
    job = running.end()
    assert (job.status, job.error, running.ring_again) == (JobStatus.RUNNING, None, False)


def test_a_full_disk_fails_the_training_once_and_with_a_sentence(
    store: JobStore, small_disk: SmallDisk, valkey_url: str
) -> None:
    """Where it begins: it used to end the worker's turn, and count as lost three times."""
    settings = WorkerSettings(redis_url=valkey_url, data_dir=small_disk.path / "var", threads=1)
    write_pictures(settings.datasets_dir / "colours" / "pictures.zip")
    small_disk.make_read_only()
    job_id = store.create(request(0.064))
    assert not run_job(job_id, store, settings, threading.Event())
    small_disk.make_writable()
    job = store.get(job_id)
    assert (job.status, job.losses) == (JobStatus.FAILED, 0)
    assert "the disk is read-only" in (job.error or "")
    assert "VITGAN_DATA_DIR/runs" in (job.error or "")


def test_a_training_that_fills_the_disk_says_so_without_our_paths(
    store: JobStore, small_disk: SmallDisk, valkey_url: str
) -> None:
    settings = WorkerSettings(redis_url=valkey_url, data_dir=small_disk.path / "var", threads=1)
    write_pictures(settings.datasets_dir / "colours" / "pictures.zip")
    settings.runs_dir.mkdir()
    small_disk.fill()
    job_id = store.create(request(0.064))
    assert not run_job(job_id, store, settings, threading.Event())
    job = store.get(job_id)
    assert (job.status, job.losses) == (JobStatus.FAILED, 0)
    assert "disk" in (job.error or "")
    assert "VITGAN_DATA_DIR" in (job.error or "")
    assert str(small_disk.path) not in (job.error or "")
