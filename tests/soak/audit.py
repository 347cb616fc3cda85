"""After the storm: every promise that was made is looked at, and whatever should not be there."""

from __future__ import annotations

import hashlib
import json
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import httpx
from redis import Redis

from app.admission import FORGET_SECONDS
from app.schemas import GenerateBody, InterpolateBody
from contract import keys
from contract.arithmetic import PORTABLE
from contract.jobs import FINAL, Job, JobStatus, JobStore
from contract.messages import Grid, Images, Walk
from contract.models import ModelLibrary
from contract.queue import GENERATE, TRAIN
from contract.settings import SHIPPED_MODELS
from contract.zips import Archive
from tests.soak.load import Accepted, Ledger
from tests.soak.stack import Stack
from worker.compositions import image_pieces, pieces
from worker.engine import Engine, core_count, use_threads

QUIET_SECONDS = 90  # longer than a lease, a pause after a loss and a doorbell that rings again
MODEL = "personas"


class References:
    """The bytes that a request must be answered with, drawn in this process."""

    def __init__(self) -> None:
        use_threads(1)
        library = ModelLibrary(SHIPPED_MODELS)
        self.engine, self.model = Engine(library, core_count(0)), library.get(MODEL)
        assert self.engine.arithmetic == PORTABLE, "what the workers have drawn cannot be drawn here again"
        self.digest = cache(self._digest)

    def of(self, route: str, body: dict[str, Any]) -> str:
        """Their SHA-256."""
        return self.digest(route, json.dumps(body, sort_keys=True))

    def _digest(self, route: str, text: str) -> str:
        body = InterpolateBody if route == "/interpolate" else GenerateBody
        asked = body.model_validate_json(text)
        what = asked.walk() if isinstance(asked, InterpolateBody) else asked.what()
        return hashlib.sha256(b"".join(self._file(what))).hexdigest()

    def _file(self, what: Images | Grid | Walk) -> Iterator[bytes]:
        if not isinstance(what, Images):
            yield from (piece.data for piece in pieces(what, MODEL, self.model.digest, self.engine))
        elif not what.zipped:
            yield from self._image(what, what.seeds[0])
        else:
            archive = Archive()
            for seed in what.seeds:
                with archive.open(seed, what.form.format) as entry:
                    for data in self._image(what, seed):
                        entry.write(data)
            archive.close()
            yield archive.take()

    def _image(self, what: Images, seed: int) -> Iterator[bytes]:
        drawn = image_pieces(
            MODEL, self.model.digest, seed, what.truncation, what.columns, what.rows, what.form, self.engine
        )
        yield from (piece.data for piece in drawn)


class Audit:
    """Lines of what was looked at, and of what is lost: there must be none of the latter."""

    def __init__(self, stack: Stack, ledger: Ledger) -> None:
        self.stack, self.ledger, self.store = stack, ledger, JobStore(stack.redis)
        self.lines: list[tuple[str, str]] = []
        self.losses: list[str] = []

    def wait_until_quiet(self) -> None:
        """Until every job has ended; those of which nothing comes any more are losses."""
        ends, before = time.monotonic() + QUIET_SECONDS, ""
        while (jobs := self._unfinished()) and time.monotonic() < ends:
            if (now := repr(jobs)) != before:
                ends, before = time.monotonic() + QUIET_SECONDS, now
            time.sleep(1)
        self.losses += [f"{job.kind} {job.id} is {job.status}: {job!r}" for job in jobs]

    def look(self) -> None:
        """At everything."""
        references = References()
        wrong = [
            image for image in self.ledger.images if image.digest != references.of(image.route, image.body)
        ]
        self.losses += [f"wrong bytes: {image.route} {image.body}" for image in wrong]
        for image in wrong:
            kept = Path(tempfile.gettempdir()) / f"soak-wrong-{image.digest[:12]}"
            kept.write_bytes(self.ledger.bytes[image.digest])
            self.losses.append(f"its bytes are kept in {kept}")
        self._say("images right to the byte", len(self.ledger.images) - len(wrong))
        self.losses += self.ledger.strange
        self._jobs(references)
        self._uploads()
        self._redis(self.stack.redis, self.stack.bytes.redis)
        self._files()

    def _jobs(self, references: References) -> None:
        known = {job.id: job for job in self._all()}
        statuses: Counter[str] = Counter()
        for accepted in self.ledger.jobs:
            if len(accepted.ids) > 1 or not accepted.ids <= known.keys():
                self.losses.append(
                    f"one key, jobs {accepted.ids}, of which are there {accepted.ids & known.keys()}"
                )
                continue
            job = known.pop(next(iter(accepted.ids)))
            statuses[f"{job.kind} {job.status}"] += 1
            self._one(job, accepted, references)
        for status, count in sorted(statuses.items()):
            self._say(f"accepted jobs: {status}", count)
        # What was accepted though nobody heard it: each must be of a request that was never answered.
        self._say("jobs of requests that were never answered", len(known))
        if len(known) > len(self.ledger.unknown):
            self.losses.append(f"{len(known)} jobs of {len(self.ledger.unknown)} unanswered requests")

    def _one(self, job: Job, accepted: Accepted, references: References) -> None:
        ends = [data for kind, data in self._events(job.id) if kind == "status" and data["status"] in FINAL]
        if len(ends) != 1 or ends[0]["status"] != job.status:
            self.losses.append(f"job {job.id} is {job.status}, and has ended {len(ends)} times")
        if job.status is JobStatus.CANCELLED and not accepted.cancel:
            self.losses.append(f"job {job.id} was cancelled by nobody")
        if job.status is JobStatus.FAILED and "its worker was lost 3 times" not in (job.error or ""):
            self.losses.append(f"job {job.id} failed: {job.error}")
        if job.status is JobStatus.SUCCEEDED:
            self._result(job, accepted, references)

    def _result(self, job: Job, accepted: Accepted, references: References) -> None:
        if job.kind == "draw":
            drawn = self._get(f"/jobs/{job.id}/result").content
            if hashlib.sha256(drawn).hexdigest() != references.of(accepted.route, accepted.body):
                self.losses.append(f"job {job.id} has drawn other bytes")
            return
        assert job.result is not None
        told = self._get(f"/models/{job.result['model']}")
        if told.status_code != 200 or told.json()["digest"] != job.result["digest"]:
            self.losses.append(f"job {job.id} has made no model, or another one")
        body = {"model": job.result["model"], "seed": 1, "resolution": 16}
        if httpx.post(f"{self._address()}/generate", json=body, timeout=60).status_code != 200:
            self.losses.append(f"job {job.id} has made a model that cannot be drawn with")

    def _uploads(self) -> None:
        for name, count in self.ledger.uploads.items():
            told = self._get(f"/datasets/{name}")
            if told.status_code != 200 or told.json()["pictures"] != count:
                self.losses.append(f"dataset {name}: {told.text}")
        self._say("uploads, whole", len(self.ledger.uploads))

    def _redis(self, jobs: Redis, other: Redis) -> None:
        for index in (keys.JOBS_RUNNING, keys.JOB_RINGS, keys.jobs_queued("train"), keys.jobs_queued("draw")):
            self.losses += [f"{index} holds {member}" for member in jobs.zrange(index, 0, -1)]  # type: ignore[union-attr]
        for table in (keys.JOBS_OPEN, keys.JOBS_PIXELS, keys.JOB_NAMES):
            self.losses += [f"{table} holds {entry}" for entry in jobs.hgetall(table).items()]  # type: ignore[union-attr]
        if under_way := self._under_way(jobs):
            self.losses.append(f"admission counts {under_way} images")
        self.losses += [
            f"{queue} holds {n} messages"
            for queue in (GENERATE, TRAIN)
            if (n := jobs.llen(keys.of_version(queue)))
        ]
        for key in other.scan_iter("vitgan:*"):
            if other.ttl(key) == -1:
                self.losses.append(f"{key} is there without an end")
        lasting = Counter(
            ":".join(key.split(":")[:2]) for key in jobs.scan_iter("vitgan:*") if jobs.ttl(key) == -1
        )
        self._say("keys that last", dict(lasting))
        self._say("messages that Celery keeps for an hour", jobs.hlen("unacked"))

    def _under_way(self, jobs: Redis) -> int:
        """Images, as admission counts them, once it has forgotten the dead."""
        ends = time.monotonic() + 2 * FORGET_SECONDS
        while True:
            found = sum(json.loads(state)["images"] for state in jobs.hvals(keys.GATES))  # type: ignore[union-attr]
            if not found or time.monotonic() > ends:
                return found
            time.sleep(1)

    def _files(self) -> None:
        patterns = ("datasets/.incoming-*", "results/*.part", "runs/*/*/.*.tmp", "models/.*", "results/.*")
        left = [str(path) for pattern in patterns for path in self.stack.data.glob(pattern)]
        self.losses += [f"left behind: {path}" for path in left]
        self._say("files left behind", len(left))

    def processes(self, left: list[str]) -> None:
        """What runs though all was ended."""
        self.losses += [f"still running: {process}" for process in left]
        self._say("processes left over", len(left))

    def _all(self) -> list[Job]:
        return self.store.list(100_000)

    def _unfinished(self) -> list[Job]:
        return [job for job in self._all() if job.status not in FINAL]

    def _events(self, job_id: str) -> list[tuple[str, Any]]:
        found = self.stack.redis.xrange(keys.job_events(job_id))
        return [(told["type"], json.loads(told["data"])) for _, told in found]  # type: ignore[union-attr]

    def _get(self, route: str) -> httpx.Response:
        return httpx.get(f"{self._address()}{route}", timeout=60)

    def _address(self) -> str:
        return f"http://127.0.0.1:{self.stack.ports[0]}"

    def _say(self, what: str, found: object) -> None:
        self.lines.append((what, str(found)))


def logged(folder: Path) -> dict[str, int]:
    """Lines of tracebacks in the processes' logs, by what they end in."""
    found: Counter[str] = Counter()
    for log in folder.iterdir():
        where = ""
        for line in log.read_text(errors="replace").splitlines():
            if line.lstrip().startswith("File "):
                where = line.strip().rpartition("/")[2]
            if line.split(":")[0].endswith(("Error", "Exception")) and not line.startswith(" "):
                found[f"{log.name}: {line[:90]} <- {where}"] += 1
    return dict(found.most_common(16))
