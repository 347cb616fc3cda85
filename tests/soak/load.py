"""Clients that ask at random, of a list whose references are cheap, and write down what they were told."""

from __future__ import annotations

import hashlib
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from tests.conftest import png, zip_of

CLIENTS = 12
PATIENCE = 120.0  # seconds that a client waits for the next byte
MOST_TRAININGS = 2  # of one client, unfinished: a training takes seconds of both cores

# kind -> bodies; route by the body's kind
IMAGES = [{"seed": seed, "resolution": size} for seed in range(6) for size in (64, 200, [120, 90])] + [
    {"seed": seed, "resolution": 128, "format": form} for seed in range(3) for form in ("webp", "jpeg")
]
LARGE = [{"seed": seed, "resolution": size} for seed in range(2) for size in (1200, [2400, 1000])]
ZIPS = [{"seeds": "0-11", "resolution": 64}, {"seeds": [1, 2], "resolution": 700}]
GRIDS = [{"seeds": "0-8", "layout": "grid", "resolution": 64}]
WALKS = [
    {"seeds": [1, 2], "frames": 16, "resolution": 160},
    {"seeds": [1, 2, 3], "frames": 9, "resolution": 64, "format": "webp"},
]
BODIES = {"image": IMAGES, "large": LARGE, "zip": ZIPS, "grid": GRIDS, "walk": WALKS}
DRAWN = [*BODIES]
KINDS = {"image": 50, "large": 8, "zip": 6, "grid": 4, "walk": 4, "later": 10, "train": 3, "cancel": 3,
         "upload": 3, "leave": 3}  # fmt: skip


@dataclass
class Drawn:
    """A 200: what was asked, what came."""

    kind: str
    body: dict[str, Any]
    digest: str
    size: int


@dataclass
class Book:
    """What the clients were told; every picture of its own bytes lies in ``folder``."""

    folder: Path
    told: Counter[tuple[str, str]] = field(default_factory=Counter)  # (kind, sent|answered|refused|broken)
    statuses: Counter[int] = field(default_factory=Counter)  # of refusals
    drawn: list[Drawn] = field(default_factory=list)
    jobs: dict[str, tuple[str, dict[str, Any]]] = field(default_factory=dict)  # id -> kind, body
    cancels: set[str] = field(default_factory=set)  # ids that somebody asked to cancel
    uploads: list[str] = field(default_factory=list)
    odd: list[str] = field(default_factory=list)  # answers that should not be
    lock: threading.Lock = field(default_factory=threading.Lock)


def route_of(kind: str) -> str:
    return "/interpolate" if kind == "walk" else "/generate"


class Client(threading.Thread):
    """Asks until it is told to stop."""

    def __init__(self, number: int, seed: int, ports: list[int], book: Book, stop: threading.Event) -> None:
        super().__init__(name=f"client-{number}")
        self.number, self.ports, self.book, self.stop = number, ports, book, stop
        self.random = random.Random(f"{seed} client {number}")
        self.made = 0

    def run(self) -> None:
        with httpx.Client(timeout=PATIENCE) as http:
            while not self.stop.is_set():
                kind = self.random.choices([*KINDS], [*KINDS.values()])[0]
                self.count(kind, "sent")
                try:
                    self.count(kind, getattr(self, f"ask_{kind}", self.ask_drawn)(http, kind))
                except httpx.TransportError:
                    self.count(kind, "broken")
                self.stop.wait(self.random.uniform(0, 0.5))

    def count(self, kind: str, what: str) -> None:
        with self.book.lock:
            self.book.told[kind, what] += 1

    def url(self, route: str) -> str:
        return f"http://127.0.0.1:{self.random.choice(self.ports)}{route}"

    def refused(self, answer: httpx.Response, *expected: int) -> str:
        """Counts it; what is neither a refusal of a busy service nor expected is written down."""
        with self.book.lock:
            self.book.statuses[answer.status_code] += 1
            if answer.status_code not in (429, 500, 502, 503, 504, *expected):
                self.book.odd.append(f"{answer.request.url}: {answer.status_code} {answer.text[:200]}")
        return "refused"

    def ask_drawn(self, http: httpx.Client, kind: str) -> str:
        body = self.random.choice(BODIES[kind])
        slow = self.random.random() < 0.1
        with http.stream("POST", self.url(route_of(kind)), json=body) as answer:
            if answer.status_code != 200:
                answer.read()
                return self.refused(answer)
            data = b"".join(chunks(answer, 0.05 if slow else 0))
        digest = hashlib.sha256(data).hexdigest()
        with self.book.lock:
            self.book.drawn.append(Drawn(kind, body, digest, len(data)))
            if not (path := self.book.folder / digest).exists():
                path.write_bytes(data)
        return "answered"

    def ask_leave(self, http: httpx.Client, kind: str) -> str:
        """A large image that nobody takes to its end."""
        with http.stream("POST", self.url("/generate"), json={"seed": 1, "resolution": 4000}) as answer:
            if answer.status_code != 200:
                answer.read()
                return self.refused(answer)
            next(answer.iter_raw())
        return "answered"

    def ask_later(self, http: httpx.Client, kind: str) -> str:
        kind = self.random.choice(DRAWN)
        body = self.random.choice(BODIES[kind])
        headers = {"Prefer": "respond-async"}
        answer = http.post(self.url(route_of(kind)), json=body, headers=headers)
        return self.accept(answer, kind, body)

    def ask_train(self, http: httpx.Client, kind: str) -> str:
        if self.made >= MOST_TRAININGS:
            return self.ask_drawn(http, "image")
        self.made += 1
        name = f"model-{self.number}-{time.monotonic_ns()}"
        body = {"dataset": "colours", "preset": "vitgan-ti-32", "name": name, "kimg": 0.096}
        return self.accept(http.post(self.url("/train"), json=body), kind, body)

    def accept(self, answer: httpx.Response, kind: str, body: dict[str, Any]) -> str:
        if answer.status_code != 202:
            return self.refused(answer)
        with self.book.lock:
            self.book.jobs[answer.json()["id"]] = (kind, body)
        return "answered"

    def ask_cancel(self, http: httpx.Client, kind: str) -> str:
        with self.book.lock:
            jobs = sorted(self.book.jobs)[-8:]
        if not jobs:
            return "answered"
        job_id = self.random.choice(jobs)
        with self.book.lock:
            self.book.cancels.add(job_id)
        answer = http.delete(self.url(f"/jobs/{job_id}"))
        return "answered" if answer.status_code in (202, 409) else self.refused(answer)

    def ask_upload(self, http: httpx.Client, kind: str) -> str:
        name = f"set-{self.number}-{time.monotonic_ns()}"
        data = zip_of({f"{i}.png": png((i * 20, 0, 0)) for i in range(12)})
        answer = http.post(self.url("/datasets"), data={"name": name}, files={"file": data})
        if answer.status_code != 201:
            return self.refused(answer)
        with self.book.lock:
            self.book.uploads.append(name)
        return "answered"


def chunks(answer: httpx.Response, pause: float) -> Iterator[bytes]:
    for part in answer.iter_raw():
        yield part
        time.sleep(pause)
