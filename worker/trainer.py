"""One training job: claimed, run as a subprocess, told about, published.

The subprocess is ``vitgan train --json``: it has its own memory, can be stopped by a signal, and
prints its progress as JSON lines.
"""

from __future__ import annotations

import json
import logging
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from contextvars import copy_context
from pathlib import Path
from typing import Any

from redis import RedisError
from structlog.contextvars import bound_contextvars

from contract.disk import DiskError, writing
from contract.jobs import Beat, Claim, JobStore
from contract.leftovers import sweep
from contract.messages import TrainRequest
from contract.models import WEIGHTS, ModelLibrary
from contract.traces import tell_spans
from worker.settings import WorkerSettings
from worker.telling import until_told
from worker.training_metrics import ENDS, tell, training_told

log = logging.getLogger(__name__)

BEAT_SECONDS = 1.0
END_SECONDS = 2.0  # until a training that nobody wants any more is killed; its checkpoint is not needed


class Training:
    """A running subprocess and the last progress it told."""

    def __init__(self, claim: Claim[TrainRequest], settings: WorkerSettings) -> None:
        self.run = take_over(settings.runs_dir / claim.job_id, claim.fence)
        self.progress: dict[str, Any] | None = None
        self._last_words = ""
        self.process = subprocess.Popen(
            command(claim.request, self.run, settings),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace",
        )  # fmt: skip
        self._readers = [
            threading.Thread(target=copy_context().run, args=(read,), daemon=True)  # so that their lines say
            for read in (self._read, self._relay)  # whose job it is
        ]
        for reader in self._readers:
            reader.start()

    def stop(self, seconds: float) -> None:
        """Asks it to write a checkpoint and end; kills it if it takes longer."""
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def error(self) -> str:
        """The last line it said on standard error."""
        return self._last_words or f"the training ended with code {self.process.returncode}"

    def drain(self) -> None:
        """Waits for the last of its output."""
        for reader in self._readers:
            reader.join(timeout=5)

    def _read(self) -> None:
        """Its reports."""
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                before, self.progress = self.progress or {}, within_total(json.loads(line))
                tell(self.progress)
                if (warning := self.progress.get("warning")) and warning != before.get("warning"):
                    log.warning("the training looks wrong: %s", warning)

    def _relay(self) -> None:
        """What it says on standard error: kept with the run, and in our log."""
        assert self.process.stderr is not None
        with self.process.stderr as lines:
            for line in lines:
                with suppress(OSError), (self.run / "stderr.log").open("a") as kept:  # the disk may be full
                    kept.write(line)
                if words := line.strip():
                    self._last_words = words
                    log.info("the training says: %s", words)


def within_total(report: dict[str, Any]) -> dict[str, Any]:
    """A report whose total is what is trained: the last batch may go beyond what was asked for."""
    total = max(report.get("total_kimg", 0), report.get("kimg", 0))
    return report | {"total_kimg": total} if "total_kimg" in report else report


def done(report: dict[str, Any] | None, kimg: float) -> dict[str, Any]:
    """The last progress of a training that has made its model."""
    return (report or {}) | {"kimg": kimg, "total_kimg": kimg, "eta_seconds": 0}


def command(request: TrainRequest, run: Path, settings: WorkerSettings) -> list[str]:
    """What trains in that folder, and ends when this process does."""
    return [
        sys.executable, "-m", "cli", "train",
        str(settings.datasets_dir / request.dataset / "pictures.zip"),
        "--preset", request.preset, "--kimg", str(request.kimg), "--seed", str(request.seed),
        "--out", str(run), "--resume", "--json", "--threads", str(settings.threads),
        "--tick", str(settings.tick_kimg), "--device", settings.device, "--with-parent",
        "--cache", str(settings.data_dir / "cache"),
    ]  # fmt: skip


def take_over(job_folder: Path, fence: int) -> Path:
    """A folder for this claim's run, begun with what the claim before it has left.

    Each claim writes into a folder of its own, named by its fence: one that has lost the job can go on
    writing and spoils nothing.
    """
    run = job_folder / f"{fence:06d}"
    before = [path for path in sorted(job_folder.glob("[0-9]*")) if path.name < run.name]
    run.mkdir(parents=True)
    for path in before[-1].iterdir() if before else ():
        if path.suffix == ".pt":
            run.joinpath(path.name).hardlink_to(path)  # never written again under this name
        elif path.is_file() and not path.name.startswith("."):
            shutil.copyfile(path, run / path.name)
    for old in before[:-1]:
        shutil.rmtree(old, ignore_errors=True)
    return run


def sweep_runs(settings: WorkerSettings) -> None:
    """Removes what trainings that died have left of files that they were writing."""
    sweep(settings.runs_dir.glob("*/*/.*.tmp"), settings.leftover_seconds)
    sweep(settings.runs_dir.glob("*/*/model/.*.tmp"), settings.leftover_seconds)


def run_job(job_id: str, store: JobStore, settings: WorkerSettings, stopping: threading.Event) -> bool:
    """Runs the job if it is to be had; True if it was given back and the doorbell must ring again."""
    if stopping.is_set():
        return True
    claim = store.claim_next(job_id, TrainRequest)
    if claim is None:
        return False
    job_id = claim.job_id
    with bound_contextvars(job_id=job_id, request_id=claim.request.request_id), training_told():
        log.info("job %s: training %s on %s", job_id, claim.request.name, claim.request.dataset)
        started = time.monotonic()
        outcome = _train(claim, store, settings, stopping)
        told = {"vitgan.job_id": job_id, "vitgan.outcome": outcome}
        tell_spans("train", [claim.request.trace], time.monotonic() - started, **told)
        log.info("job %s: %s", job_id, outcome)
    ENDS.labels(outcome=outcome).inc()
    return outcome == "released"


def _train(
    claim: Claim[TrainRequest], store: JobStore, settings: WorkerSettings, stopping: threading.Event
) -> str:
    """What came of it, as contract/metrics.py has it."""
    sweep_runs(settings)
    try:
        with writing(settings.runs_dir):
            training = Training(claim, settings)
    except DiskError as error:
        return _no_room(claim, error, store, settings, stopping)
    try:
        return _attend(claim, training, store, settings, stopping)
    except DiskError as error:
        return _no_room(claim, error, store, settings, stopping)
    except RedisError as error:
        log.warning("job %s: Redis does not answer, its lease runs out: %s", claim.job_id, error)
        return "redis_away"
    finally:
        training.drain()


def _no_room(
    claim: Claim[TrainRequest],
    error: DiskError,
    store: JobStore,
    settings: WorkerSettings,
    stopping: threading.Event,
) -> str:
    log.error("job %s failed: %s", claim.job_id, error)
    failure = f"the training failed: {error.told(settings.data_dir)}"
    until_told(lambda: store.fail(claim, failure), stopping)
    return "failed"


def _attend(
    claim: Claim[TrainRequest],
    training: Training,
    store: JobStore,
    settings: WorkerSettings,
    stopping: threading.Event,
) -> str:
    """Beats until the training ends or must be ended; gives what came of it."""
    while training.process.poll() is None:
        if stopping.is_set():
            training.stop(settings.stop_seconds)
            return "released" if store.release(claim) else "lost"
        match _beat(store, claim, training.progress):
            case Beat.CANCEL:
                training.stop(END_SECONDS)
                store.cancelled(claim)
                return "cancelled"
            case Beat.LOST:
                training.stop(END_SECONDS)
                return "lost"
            case Beat.GO_ON:
                _wait(training.process, BEAT_SECONDS)
    training.drain()
    _beat(store, claim, training.progress)
    return _finish(claim, training, store, settings, stopping)


def _beat(store: JobStore, claim: Claim[TrainRequest], progress: dict[str, Any] | None) -> Beat:
    try:
        return store.beat(claim, progress)
    except RedisError:
        log.warning("job %s: Redis does not answer, training goes on", claim.job_id)
        return Beat.GO_ON


def _wait(process: subprocess.Popen[str], seconds: float) -> None:
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return


def _finish(
    claim: Claim[TrainRequest],
    training: Training,
    store: JobStore,
    settings: WorkerSettings,
    stopping: threading.Event,
) -> str:
    if training.process.returncode < 0:
        # Killed by somebody, or for its memory: as if this worker had been lost, and tried as often.
        log.warning("job %s: its training ended by signal %d", claim.job_id, -training.process.returncode)
        return "killed"
    if training.process.returncode > 0:
        failure = training.error().replace(str(settings.data_dir), "VITGAN_DATA_DIR")
        until_told(lambda: store.fail(claim, failure), stopping)
        return "failed"
    name = claim.request.name
    if _beat(store, claim, None) is Beat.LOST:
        return "lost"  # another worker publishes the same
    target = settings.trained_models_dir / name
    if target.exists() and not _same_weights(target, training.run / "model"):
        until_told(lambda: store.fail(claim, f"a model named {name} appeared meanwhile"), stopping)
        return "failed"
    with writing(settings.trained_models_dir):
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists():
            (training.run / "model").rename(target)
    model = ModelLibrary(settings.trained_models_dir).get(name)
    result, progress = {"model": name, "digest": model.digest}, done(training.progress, model.config["kimg"])
    until_told(lambda: store.succeed(claim, result, progress), stopping)
    log.info("job %s: published %s@%s", claim.job_id, name, model.short_digest)
    return "succeeded"


def _same_weights(one: Path, other: Path) -> bool:
    """Whether an earlier claim of this job has published: a resumed training makes its bits."""
    return (one / WEIGHTS).read_bytes() == (other / WEIGHTS).read_bytes()
