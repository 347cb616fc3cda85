from __future__ import annotations

import io
import os
import threading
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from redis import TimeoutError as RedisTimeout

from contract import job_machine
from contract.arithmetic import reference
from contract.jobs import Asked, Claim, JobStatus, JobStore
from contract.messages import DrawRequest, Form, Grid, Images, Side, Walk
from contract.models import PublishedModel
from contract.versions import BYTES_VERSION
from tests.full_disk import SmallDisk, small_disk
from worker import drawings
from worker.compositions import image_pieces, pieces
from worker.drawings import run_drawing, sweep_results
from worker.engine import Engine
from worker.settings import WorkerSettings

__all__ = ["small_disk"]

SIDES = {"columns": Side.whole(24), "rows": Side.whole(16), "truncation": 0.8}


@pytest.fixture
def store(redis: Redis) -> JobStore:
    return JobStore(redis)


@pytest.fixture
def settings(tmp_path: Path) -> WorkerSettings:
    return WorkerSettings(data_dir=tmp_path / "var")


def request(model: PublishedModel, what: Images | Grid | Walk) -> DrawRequest:
    return DrawRequest(model=model.name, digest=model.digest, what=what)


def image(model: PublishedModel, engine: Engine, seed: int, form: Form) -> bytes:
    drawn = image_pieces(
        model.name,
        model.digest,
        seed,
        0.8,
        SIDES["columns"],
        SIDES["rows"],
        form,
        engine,  # type: ignore[arg-type]
    )
    return b"".join(piece.data for piece in drawn)


def result(settings: WorkerSettings, name: str) -> bytes:
    return (settings.results_dir / name).read_bytes()


@pytest.mark.parametrize("form", [Form(), Form(format="webp"), Form(format="jpeg")])
def test_one_image_is_its_file(
    engine: Engine, tiny: PublishedModel, store: JobStore, settings: WorkerSettings, form: Form
) -> None:
    what = Images(seeds=(7,), form=form, **SIDES)  # type: ignore[arg-type]
    job_id = store.create(request(tiny, what))
    assert not run_drawing(job_id, store, engine, settings, threading.Event())
    job, expected = store.get(job_id), image(tiny, engine, 7, form)
    assert (job.kind, job.status) == ("draw", JobStatus.SUCCEEDED)
    drawn_by = reference("tiny", tiny.digest, engine.arithmetic)
    assert job.result == {
        "media_type": f"image/{form.format}", "bytes": len(expected), "model": drawn_by,
    }  # fmt: skip
    assert job.progress == {"bytes": len(expected), "images": 1, "total_images": 1}
    assert result(settings, f"{job_id}.{what.suffix}") == expected
    assert [path.suffix for path in settings.results_dir.iterdir()] == [f".{what.suffix}"]


def test_what_a_newer_version_was_asked_for_is_left_to_it(
    engine: Engine, tiny: PublishedModel, store: JobStore, settings: WorkerSettings
) -> None:
    """An older one's is drawn: the bytes that the same request is answered with by now."""
    what = Images(seeds=(7,), **SIDES)  # type: ignore[arg-type]
    older, newer = (
        store.create(request(tiny, what).model_copy(update={"bytes_version": BYTES_VERSION + step}))
        for step in (-1, 1)
    )
    for job_id in (older, newer):
        assert not run_drawing(job_id, store, engine, settings, threading.Event())
    assert (store.get(older).status, store.get(newer).status) == (JobStatus.SUCCEEDED, JobStatus.QUEUED)
    assert store.get(newer).losses == 0
    assert store.claim(newer, DrawRequest) is not None


def test_several_are_a_zip(
    engine: Engine, tiny: PublishedModel, store: JobStore, settings: WorkerSettings
) -> None:
    what = Images(seeds=(7, 3), zipped=True, **SIDES)  # type: ignore[arg-type]
    job_id = store.create(request(tiny, what))
    run_drawing(job_id, store, engine, settings, threading.Event())
    with zipfile.ZipFile(io.BytesIO(result(settings, f"{job_id}.zip"))) as archive:
        assert archive.testzip() is None
    told = store.get(job_id)
    assert told.result is not None
    assert told.progress == {"bytes": told.result["bytes"], "images": 2, "total_images": 2}
    with zipfile.ZipFile(io.BytesIO(result(settings, f"{job_id}.zip"))) as archive:
        assert archive.namelist() == ["seed0007.png", "seed0003.png"]
        assert archive.read("seed0003.png") == image(tiny, engine, 3, Form())


@pytest.mark.parametrize("kind", ["grid", "walk"])
def test_compositions_are_what_is_streamed(
    engine: Engine, tiny: PublishedModel, store: JobStore, settings: WorkerSettings, kind: str
) -> None:
    several = {"seeds": (1, 2, 3)} | SIDES
    what = Grid(across=2, **several) if kind == "grid" else Walk(frames=6, **several)  # type: ignore[arg-type]
    job_id = store.create(request(tiny, what))
    run_drawing(job_id, store, engine, settings, threading.Event())
    streamed = b"".join(piece.data for piece in pieces(what, tiny.name, tiny.digest, engine))
    assert result(settings, f"{job_id}.png") == streamed


def long(model: PublishedModel) -> DrawRequest:
    seeds = tuple(range(100_000))
    return request(model, Images(seeds=seeds, zipped=True, **SIDES))  # type: ignore[arg-type]


class Drawing(threading.Thread):
    """A long one, under way."""

    def __init__(
        self, model: PublishedModel, engine: Engine, store: JobStore, settings: WorkerSettings
    ) -> None:
        super().__init__()
        self.job_id, self.stopping = store.create(long(model)), threading.Event()
        self.arguments = (self.job_id, store, engine, settings, self.stopping)
        self.start()
        deadline = time.monotonic() + 60
        while not (store.get(self.job_id).progress or {}).get("images"):
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def run(self) -> None:
        self.again = run_drawing(*self.arguments)


@pytest.fixture
def drawing(
    tiny: PublishedModel, engine: Engine, store: JobStore, settings: WorkerSettings,
    monkeypatch: pytest.MonkeyPatch,
) -> Drawing:  # fmt: skip
    monkeypatch.setattr(drawings, "BEAT_SECONDS", 0.05)
    return Drawing(tiny, engine, store, settings)


def test_a_cancelled_one_stops_and_leaves_nothing(
    drawing: Drawing, store: JobStore, settings: WorkerSettings
) -> None:
    assert store.get(drawing.job_id).progress["total_images"] == 100_000  # type: ignore[index]
    store.request_cancel(drawing.job_id)
    drawing.join(60)
    assert store.get(drawing.job_id).status is JobStatus.CANCELLED
    assert not drawing.again
    assert list(settings.results_dir.iterdir()) == []


def test_a_worker_that_stops_gives_it_back(
    drawing: Drawing, store: JobStore, settings: WorkerSettings
) -> None:
    drawing.stopping.set()
    drawing.join(60)
    assert drawing.again  # the doorbell rings for another worker
    assert store.get(drawing.job_id).status is JobStatus.QUEUED
    assert list(settings.results_dir.iterdir()) == []


def test_one_that_lost_its_job_stops(
    drawing: Drawing, store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_machine, "LEASE_SECONDS", -1)
    monkeypatch.setattr(job_machine, "PAUSE_SECONDS", 0)
    deadline = time.monotonic() + 60
    while not store.reap():
        assert time.monotonic() < deadline
    monkeypatch.undo()
    assert store.claim(drawing.job_id, DrawRequest) is not None
    drawing.join(60)
    assert not drawing.is_alive()
    assert store.get(drawing.job_id).status is JobStatus.RUNNING  # the other one's


def test_a_model_that_was_replaced_is_told(
    engine: Engine, tiny: PublishedModel, store: JobStore, settings: WorkerSettings
) -> None:
    what = Images(seeds=(1,), **SIDES)  # type: ignore[arg-type]
    job_id = store.create(DrawRequest(model=tiny.name, digest="0" * 64, what=what))
    run_drawing(job_id, store, engine, settings, threading.Event())
    job = store.get(job_id)
    assert job.status is JobStatus.FAILED
    assert "has been replaced" in (job.error or "")


def test_a_stopping_worker_claims_nothing(
    engine: Engine, tiny: PublishedModel, store: JobStore, settings: WorkerSettings
) -> None:
    stopping = threading.Event()
    stopping.set()
    job_id = store.create(long(tiny))
    assert run_drawing(job_id, store, engine, settings, stopping)
    assert store.get(job_id).attempts == 0


def test_old_results_and_what_died_of_others_are_swept(
    engine: Engine, tiny: PublishedModel, store: JobStore, settings: WorkerSettings
) -> None:
    settings.results_dir.mkdir(parents=True)
    ages = {"old.png": 90_000, "new.png": 5_000, "died.1.part": 5_000, "drawn.1.part": 50}
    for name, age in ages.items():
        (settings.results_dir / name).write_bytes(b"x")
        os.utime(settings.results_dir / name, (time.time() - age,) * 2)
    sweep_results(settings)
    assert sorted(path.name for path in settings.results_dir.iterdir()) == ["drawn.1.part", "new.png"]


def test_whoever_takes_over_removes_what_was_begun(
    engine: Engine, tiny: PublishedModel, store: JobStore, settings: WorkerSettings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(job_machine, "LEASE_SECONDS", -1)
    monkeypatch.setattr(job_machine, "PAUSE_SECONDS", -1)
    job_id = store.create(request(tiny, Images(seeds=(7,), **SIDES)))  # type: ignore[arg-type]
    assert store.claim(job_id, DrawRequest) is not None
    settings.results_dir.mkdir(parents=True)
    (settings.results_dir / f"{job_id}.1.part").write_bytes(b"half")
    assert store.reap() == [job_id]
    run_drawing(job_id, store, engine, settings, threading.Event())
    assert [path.name for path in settings.results_dir.iterdir()] == [f"{job_id}.png"]


class DeafStore(JobStore):
    """Redis answers an end's first words with a time-out."""

    deaf = 2

    def succeed(
        self, claim: Claim[Asked], result: dict[str, Any], progress: dict[str, Any] | None = None
    ) -> bool:
        self.deaf -= 1
        if self.deaf >= 0:
            raise RedisTimeout
        return super().succeed(claim, result, progress)


def test_an_outage_at_its_end_does_not_make_it_fail(
    engine: Engine, tiny: PublishedModel, redis: Redis, settings: WorkerSettings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("worker.telling.RETRY_SECONDS", 0.01)
    store = DeafStore(redis)
    job_id = store.create(request(tiny, Images(seeds=(7,), **SIDES)))  # type: ignore[arg-type]
    run_drawing(job_id, store, engine, settings, threading.Event())
    assert (store.get(job_id).status, store.deaf) == (JobStatus.SUCCEEDED, -1)


def test_a_full_disk_fails_the_job_with_a_sentence(
    engine: Engine, tiny: PublishedModel, store: JobStore, small_disk: SmallDisk
) -> None:
    settings = WorkerSettings(data_dir=small_disk.path / "var")
    large = Images(seeds=tuple(range(400)), zipped=True, **SIDES)  # type: ignore[arg-type]
    small_disk.fill()
    for what in (Images(seeds=(1,), **SIDES), large):  # type: ignore[arg-type]
        job_id = store.create(request(tiny, what))
        assert not run_drawing(job_id, store, engine, settings, threading.Event())
        job = store.get(job_id)
        assert job.status is JobStatus.FAILED
        assert (job.error or "").startswith(
            "the drawing failed: the disk is full, so nothing can be written to VITGAN_DATA_DIR/results: "
        )
    small_disk.free()
    job_id = store.create(request(tiny, large))
    run_drawing(job_id, store, engine, settings, threading.Event())
    assert store.get(job_id).status is JobStatus.SUCCEEDED
    assert len(list(settings.results_dir.iterdir())) == 1


def test_a_disk_that_becomes_read_only_ends_no_worker(
    engine: Engine, tiny: PublishedModel, store: JobStore, small_disk: SmallDisk
) -> None:
    settings = WorkerSettings(data_dir=small_disk.path / "var")
    settings.results_dir.mkdir(parents=True)
    old = settings.results_dir / "old.1.part"
    old.write_text("")
    os.utime(old, (0, 0))
    small_disk.make_read_only()
    job_id = store.create(request(tiny, Images(seeds=(1,), **SIDES)))  # type: ignore[arg-type]
    assert not run_drawing(job_id, store, engine, settings, threading.Event())
    assert "read-only" in (store.get(job_id).error or "")
    small_disk.make_writable()
