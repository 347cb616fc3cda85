"""What is true afterwards of every request that was accepted, and what is left over that should not be."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable
from typing import Any

import httpx

from app.schemas import GenerateBody, InterpolateBody
from contract import keys
from contract.messages import DrawRequest
from contract.models import ModelLibrary
from contract.queue import GENERATE, TRAIN
from contract.settings import SHIPPED_MODELS
from tests.soak.load import Book
from tests.soak.stack import Stack
from worker.drawings import file_parts
from worker.engine import Engine, use_threads
from worker.png import Piece

FINAL = {"succeeded", "failed", "cancelled"}
GIVEN_UP = "its worker was lost 3 times, so it is not tried again"
# What lives in Redis without a time to live, and is not left over.
LASTING = (
    keys.JOBS, keys.job(""), "vitgan:workers:", keys.REAPER, "_kombu.binding",
)  # fmt: skip


class Quiet:
    """In the place of a job's beats: nobody waits, nobody cancels."""

    images = 0

    def count(self, piece: Piece) -> bytes:
        return piece.data


class References:
    """Drawn in this process, by the engine that the workers have; each once."""

    def __init__(self, stack: Stack) -> None:
        use_threads(1)
        self.folder = stack.folder / "pictures"
        self.library = ModelLibrary(SHIPPED_MODELS, stack.data / "models")
        self.engine, self.known = Engine(self.library, 2), dict[str, str]()

    def of(self, kind: str, body: dict[str, Any], model: str = "emoji-32") -> str:
        """The SHA-256 of the bytes that the request stands for."""
        key = json.dumps([kind, body, model], sort_keys=True)
        if key not in self.known:
            what = InterpolateBody(**body).walk() if kind == "walk" else GenerateBody(**body).what()
            request = DrawRequest(model=model, digest=self.library.get(model).digest, what=what)
            data = b"".join(file_parts(request, self.engine, Quiet()))  # type: ignore[arg-type]
            self.known[key] = hashlib.sha256(data).hexdigest()
            (self.folder / self.known[key]).write_bytes(data)
        return self.known[key]


class Audit:
    """Lines that tell what was looked at, and the losses."""

    def __init__(self, stack: Stack, book: Book) -> None:
        self.stack, self.book = stack, book
        self.redis = stack.valkey.redis
        self.references = References(stack)
        self.lines: list[str] = []
        self.losses: list[str] = []

    def check(self, what: str, looked_at: int, wrong: Iterable[str]) -> None:
        found = list(wrong)
        self.losses += [f"{what}: {one}" for one in found]
        self.lines.append(f"{'LOSS' if found else 'ok  '}  {what}: {looked_at} looked at, {len(found)} wrong")

    def run(self, http: httpx.Client) -> None:
        """While the service runs, idle."""
        self.check("answers are what was asked for", sum(self.book.told.values()), self.book.odd)
        self.check("images are the reference, to the byte", len(self.book.drawn), self.wrong_images())
        jobs = {job_id: http.get(f"/jobs/{job_id}").json() for job_id in self.book.jobs}
        states = Counter(f"{job.get('kind')} {job.get('status')}" for job in jobs.values())
        self.check(f"accepted jobs have ended ({dict(sorted(states.items()))})", len(jobs), (
            f"{job_id} {job}" for job_id, job in jobs.items() if job.get("status") not in FINAL
        ))  # fmt: skip
        failed = {job_id: job for job_id, job in jobs.items() if job.get("status") == "failed"}
        self.check("what failed had lost three workers", len(failed), (
            f"{job_id} {job['error']}" for job_id, job in failed.items() if job["error"] != GIVEN_UP
        ))  # fmt: skip
        cancelled = [job_id for job_id, job in jobs.items() if job.get("status") == "cancelled"]
        self.check("what is cancelled was asked to be", len(cancelled), set(cancelled) - self.book.cancels)
        done = [job_id for job_id, job in jobs.items() if job.get("status") == "succeeded"]
        drawings = [job_id for job_id in done if self.book.jobs[job_id][0] != "train"]
        self.check("files of drawings are the reference", len(drawings), self.wrong_files(http, drawings))
        trainings = [jobs[job_id] for job_id in done if self.book.jobs[job_id][0] == "train"]
        self.check(
            "trained models are there once, and draw", len(trainings), self.wrong_models(http, trainings)
        )
        self.check("uploads are kept", len(self.book.uploads), self.wrong_uploads(http))
        self.redis_is_clean()

    def wrong_images(self) -> Iterable[str]:
        for drawn in self.book.drawn:
            if drawn.digest != (right := self.references.of(drawn.kind, drawn.body)):
                yield f"{drawn.body}: {drawn.size} bytes in {drawn.digest}, should be {right}"

    def wrong_files(self, http: httpx.Client, drawings: list[str]) -> Iterable[str]:
        for job_id in drawings:
            answer = http.get(f"/jobs/{job_id}/result")
            digest = hashlib.sha256(answer.content).hexdigest()
            if answer.status_code != 200 or digest != self.references.of(*self.book.jobs[job_id]):
                yield f"{job_id} {self.book.jobs[job_id]}: {answer.status_code}"

    def wrong_models(self, http: httpx.Client, trainings: list[dict[str, Any]]) -> Iterable[str]:
        models = Counter(model["name"] for model in http.get("/models?limit=1000").json()["items"])
        body = {"seed": 1, "resolution": 48}
        for job in trainings:
            name, digest = job["result"]["model"], job["result"]["digest"]
            answer = http.post("/generate", json=body | {"model": name})
            same = hashlib.sha256(answer.content).hexdigest() == self.references.of("image", body, name)
            if models[name] != 1 or self.references.library.get(name).digest != digest or not same:
                yield f"{job['id']} {name}: {models[name]} of it, {answer.status_code}"

    def wrong_uploads(self, http: httpx.Client) -> Iterable[str]:
        for name in self.book.uploads:
            answer = http.get(f"/datasets/{name}")
            if answer.status_code != 200 or answer.json()["pictures"] != 12:
                yield f"{name}: {answer.text}"

    def redis_is_clean(self) -> None:
        """No lease, queue entry, reply, credit or name is left without an end."""
        redis = self.redis
        sets = [
            keys.JOBS_RUNNING,
            keys.JOB_RINGS,
            keys.jobs_queued("draw"),
            keys.jobs_queued("train"),
            "unacked_index",
        ]
        held = {key: redis.zcard(key) for key in sets} | {key: redis.llen(key) for key in (GENERATE, TRAIN)}
        held |= {key: redis.hlen(key) for key in (keys.JOB_NAMES, "unacked")}
        self.check("no lease, queue entry or name is held", len(held), (
            f"{key} has {count}" for key, count in held.items() if count
        ))  # fmt: skip
        ages = {key: redis.ttl(key) for key in redis.keys("*")}  # type: ignore[union-attr]
        endless = [key for key, age in ages.items() if age == -1 and not key.startswith(LASTING)]
        self.check("no key without an end", len(ages), endless)
        short = sorted(f"{key} {age} s" for key, age in ages.items() if age and age > 0)  # type: ignore[operator]
        self.lines += [f"      still there, for {line}" for line in short]

    def run_after(self, stop_seconds: float) -> None:
        """When all processes have been told to end, after they had started once more."""
        late = [f"{stop_seconds:.1f} s"] if stop_seconds > 10 else []
        self.check("SIGTERM ends all of ours in 10 s", len(self.stack.names), late)
        self.check("no process is left", 0, (str(pid) for pid in self.stack.left()))
        data = self.stack.data
        patterns = ("datasets/.incoming-*", "results/*.part", "runs/*/*/.*.tmp", "models/**/.*.tmp")
        found = [str(path.relative_to(data)) for pattern in patterns for path in data.glob(pattern)]
        self.check("no file was left half done", len(patterns), found)
