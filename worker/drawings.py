"""A drawing job: claimed, drawn into a file, kept for whoever asked to fetch it.

The file appears under its name when it is whole. A worker that stops gives the job back, and another draws
it from the start: the same bytes.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Iterator

from redis import RedisError
from structlog.contextvars import bound_contextvars

from contract.arithmetic import reference
from contract.disk import DiskError, writing
from contract.jobs import Beat, Claim, JobStore
from contract.leftovers import sweep
from contract.messages import DrawRequest, Images
from contract.traces import tell_spans
from contract.versions import BYTES_VERSION
from contract.zips import Archive
from worker.compositions import image_pieces, pieces
from worker.engine import Engine, ModelGoneError
from worker.metrics import JOBS
from worker.png import Piece
from worker.settings import WorkerSettings
from worker.telling import until_told

log = logging.getLogger(__name__)

BEAT_SECONDS = 1.0
AWAY_SECONDS = 5.0  # until the next beat if Redis does not answer: each try keeps the drawing waiting


class StoppedError(Exception):
    """Cancelled, or lost to another worker, or given back."""


def run_drawing(
    job_id: str, store: JobStore, engine: Engine, settings: WorkerSettings, stopping: threading.Event
) -> bool:
    """Draws the job if it is to be had; True if it was given back and the doorbell must ring again."""
    if stopping.is_set():
        return True
    claim = store.claim_next(job_id, DrawRequest)
    if claim is None:
        return False
    job_id = claim.job_id
    if claim.request.bytes_version > BYTES_VERSION:  # whose API has rung newer workers, too
        log.warning("job %s is left to a newer worker: other bytes were promised than are drawn here", job_id)
        store.release(claim)
        return False
    with bound_contextvars(job_id=job_id, request_id=claim.request.request_id):
        started = time.monotonic()
        outcome = _draw(claim, store, engine, settings, stopping)
        told = {"vitgan.job_id": job_id, "vitgan.outcome": outcome}
        tell_spans("draw a job", [claim.request.trace], time.monotonic() - started, **told)
        log.info("job %s: %s", job_id, outcome)
    JOBS.labels(outcome=outcome).inc()
    return outcome == "released"


def _draw(
    claim: Claim[DrawRequest],
    store: JobStore,
    engine: Engine,
    settings: WorkerSettings,
    stopping: threading.Event,
) -> str:
    """What came of it, as contract/metrics.py has it."""
    sweep_results(settings)
    job_id, beats = claim.job_id, Beats(store, claim, stopping)
    what = claim.request.what
    whole = settings.results_dir / f"{job_id}.{what.suffix}"
    part = whole.with_suffix(f".{claim.fence}.part")  # its own: one that has lost the job may still write
    try:
        with writing(settings.results_dir):
            take_over(settings, claim)
            with part.open("wb") as file:
                for data in file_parts(claim.request, engine, beats):
                    file.write(data)
            part.rename(whole)
        drawn_by = reference(claim.request.model, claim.request.digest, engine.arithmetic)
        size = whole.stat().st_size
        result = {"media_type": what.media_type, "bytes": size, "model": drawn_by}
        until_told(lambda: store.succeed(claim, result, beats.progress(size)), stopping)
    except StoppedError:
        return "released" if beats.given_back else "stopped"
    except RedisError as error:
        log.warning("job %s: Redis does not answer, its lease runs out: %s", job_id, error)
        return "redis_away"
    except ModelGoneError:
        gone = f"the model {claim.request.model} has been replaced meanwhile: ask again"
        until_told(lambda: store.fail(claim, gone), stopping)
        return "failed"
    except DiskError as error:
        log.error("job %s failed: %s", job_id, error)
        full = f"the drawing failed: {error.told(settings.data_dir)}"
        until_told(lambda: store.fail(claim, full), stopping)
        return "failed"
    except Exception as error:
        log.exception("job %s failed", job_id)
        failure = f"the drawing failed: {error}"
        until_told(lambda: store.fail(claim, failure), stopping)
        return "failed"
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
    return "succeeded"


class Beats:
    """Keeps the lease while bytes are made, and tells how many."""

    def __init__(self, store: JobStore, claim: Claim[DrawRequest], stopping: threading.Event) -> None:
        self.store, self.claim, self.stopping = store, claim, stopping
        self.given_back = False
        self.images = self.bytes = 0
        self._due = time.monotonic() + BEAT_SECONDS

    def count(self, piece: Piece) -> bytes:
        """The piece's bytes; raises ``StoppedError`` when there is no more to do."""
        self.bytes += len(piece.data)
        if self.stopping.is_set():
            self.given_back = self.store.release(self.claim)
            raise StoppedError
        if time.monotonic() > self._due:
            self._beat()
        return piece.data

    def progress(self, size: int) -> dict[str, int]:
        """How far it is, so many bytes being there."""
        what = self.claim.request.what
        if not isinstance(what, Images):
            return {"bytes": size}
        return {"bytes": size, "images": self.images, "total_images": len(what.seeds)}

    def _beat(self) -> None:
        self._due = time.monotonic() + BEAT_SECONDS
        try:
            answer = self.store.beat(self.claim, self.progress(self.bytes))
        except RedisError:
            log.warning("job %s: Redis does not answer, drawing goes on", self.claim.job_id)
            self._due = time.monotonic() + AWAY_SECONDS
            return
        if answer is Beat.CANCEL:
            self.store.cancelled(self.claim)
        if answer is not Beat.GO_ON:
            raise StoppedError


def file_parts(request: DrawRequest, engine: Engine, beats: Beats) -> Iterator[bytes]:
    """The bytes that whoever had waited would have been sent."""
    what, model, digest = request.what, request.model, request.digest
    if not isinstance(what, Images):
        yield from map(beats.count, pieces(what, model, digest, engine))
        return
    archive = Archive()
    for seed in what.seeds:
        drawn = image_pieces(model, digest, seed, what.truncation, what.columns, what.rows, what.form, engine)
        if not what.zipped:
            yield from map(beats.count, drawn)
            beats.images += 1
            return
        with archive.open(seed, what.form.format) as entry:
            for piece in drawn:
                entry.write(beats.count(piece))
                yield archive.take()
        beats.images += 1
    archive.close()
    yield archive.take()


def sweep_results(settings: WorkerSettings) -> None:
    """Removes results that are no longer kept, and what processes that died have left of others."""
    sweep(settings.results_dir.glob("*"), settings.result_seconds)
    sweep(settings.results_dir.glob("*.part"), settings.leftover_seconds)


def take_over(settings: WorkerSettings, claim: Claim[DrawRequest]) -> None:
    """Removes what lost claims of the job have left, from the folder of results, which it makes."""
    settings.results_dir.mkdir(parents=True, exist_ok=True)
    for part in settings.results_dir.glob(f"{claim.job_id}.*.part"):
        if int(part.suffixes[0][1:]) < claim.fence:
            part.unlink(missing_ok=True)
