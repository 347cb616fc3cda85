"""Clients that ask for everything the service offers, and remember what they were told."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from tests.conftest import png, zip_of

CLIENTS, TRIES = 12, 4
ASYNC = {"Prefer": "respond-async"}
TIMEOUT = aiohttp.ClientTimeout(total=120, sock_connect=3)


@dataclass
class Image:
    """What came of an image, zip, grid or walk that was answered."""

    route: str
    body: dict[str, Any]
    digest: str


@dataclass
class Accepted:
    """A job that was promised."""

    route: str
    body: dict[str, Any]
    ids: set[str]  # of all answers under its key: one, if nothing is lost
    cancel: bool = False  # a client asked for it


@dataclass
class Ledger:
    """All that clients were told."""

    sent: Counter[str] = field(default_factory=Counter)
    answered: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    broken: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)  # of refusals
    images: list[Image] = field(default_factory=list)
    bytes: dict[str, bytes] = field(default_factory=dict)  # by digest, each once
    jobs: list[Accepted] = field(default_factory=list)
    uploads: dict[str, int] = field(default_factory=dict)  # dataset -> pictures
    unknown: list[tuple[str, dict[str, Any]]] = field(default_factory=list)  # never answered
    strange: list[str] = field(default_factory=list)  # answers that are neither


class Clients:
    """A dozen of them, each drawing from the seed what it asks for next."""

    def __init__(self, ports: list[int], seed: int) -> None:
        self.ports, self.seed, self.ledger = ports, seed, Ledger()
        self.trainings = asyncio.Semaphore(2)  # under way: each takes a core for some seconds
        self.stopping = False

    async def run(self) -> None:
        """Until ``stopping`` is set and what is under way has ended."""
        async with aiohttp.ClientSession(timeout=TIMEOUT) as http:
            await asyncio.gather(*(self._client(http, number) for number in range(CLIENTS)))

    async def _client(self, http: aiohttp.ClientSession, number: int) -> None:
        rng = random.Random(f"client {number} {self.seed}")
        kinds = {
            self.small: 40, self.large: 4, self.zip: 6, self.grid: 4, self.walk: 4, self.leaver: 4,
            self.drawing: 8, self.training: 3, self.upload: 3,
        }  # fmt: skip
        while not self.stopping:
            (kind,) = rng.choices(list(kinds), list(kinds.values()))
            await kind(http, rng)
            await asyncio.sleep(rng.expovariate(4))

    # what is asked for: few different things, so that each can be drawn again for the audit

    async def small(self, http: aiohttp.ClientSession, rng: random.Random) -> None:
        await self.image(http, rng, "small", "/generate", self.some_image(rng))

    def some_image(self, rng: random.Random) -> dict[str, Any]:
        return {
            "seed": rng.randrange(8), "resolution": rng.choice([64, [100, 60], 256]),
            "format": rng.choice(["png", "png", "webp", "jpeg"]),
        }  # fmt: skip

    async def large(self, http: aiohttp.ClientSession, rng: random.Random) -> None:
        body = {"seed": rng.randrange(2), "resolution": 1500}
        await self.image(http, rng, "large", "/generate", body)

    async def zip(self, http: aiohttp.ClientSession, rng: random.Random) -> None:
        await self.image(http, rng, "zip", "/generate", {"seeds": "0-39", "resolution": 48})

    async def grid(self, http: aiohttp.ClientSession, rng: random.Random) -> None:
        body = {"seeds": "0-8", "resolution": 64, "layout": "grid"}
        await self.image(http, rng, "grid", "/generate", body)

    async def walk(self, http: aiohttp.ClientSession, rng: random.Random) -> None:
        body = {"seeds": [1, 2], "frames": 12, "resolution": 64, "format": rng.choice(["png", "webp"])}
        await self.image(http, rng, "walk", "/interpolate", body)

    async def leaver(self, http: aiohttp.ClientSession, rng: random.Random) -> None:
        """Takes a part of an image and goes."""
        self.ledger.sent["leaver"] += 1
        try:
            async with http.post(self.url(rng, "/generate"), json={"resolution": 4000, "seed": 1}) as answer:
                await answer.content.read(1 + rng.randrange(200_000))
                self.ledger.answered["leaver"] += answer.status == 200
        except (aiohttp.ClientError, TimeoutError, OSError):
            self.ledger.broken["leaver"] += 1

    async def drawing(self, http: aiohttp.ClientSession, rng: random.Random) -> None:
        body = rng.choice([self.some_image(rng), {"seeds": "0-39", "resolution": 48}])
        await self.job(http, rng, "drawing", "/generate", body, ASYNC)

    async def training(self, http: aiohttp.ClientSession, rng: random.Random) -> None:
        if self.trainings.locked():
            return
        async with self.trainings:
            name = f"m{rng.getrandbits(48):x}"
            body = {"dataset": "colours", "preset": "vitgan-ti-32", "name": name, "kimg": 0.128}
            before = len(self.ledger.jobs)
            await self.job(http, rng, "training", "/train", body, {})
            for job in self.ledger.jobs[before:]:
                await self.patience(http, rng, next(iter(job.ids)))

    async def patience(self, http: aiohttp.ClientSession, rng: random.Random, job_id: str) -> None:
        """Waits a while for a training's end: more of them would only queue up."""
        for _ in range(30):
            await asyncio.sleep(3)
            status, data = await self.post(http, self.url(rng, f"/jobs/{job_id}"), method="GET")
            if self.stopping or (status == 200 and json.loads(data)["finished_at"]):
                return

    async def upload(self, http: aiohttp.ClientSession, rng: random.Random) -> None:
        name, count = f"d{rng.getrandbits(48):x}", rng.randrange(32, 80)
        pictures = zip_of({f"{n}.png": png((n, 2 * n, rng.randrange(256))) for n in range(count)})
        key = {"Idempotency-Key": f"{rng.getrandbits(64):x}"}
        self.ledger.sent["upload"] += 1
        for _ in range(TRIES):
            form = aiohttp.FormData({"name": name})
            form.add_field("file", pictures, filename="a.zip")
            status, told = await self.post(http, self.url(rng, "/datasets"), data=form, headers=key)
            if status == 201:
                self.ledger.answered["upload"] += 1
                self.ledger.uploads[name] = count
                return
            if status and status not in (429, 503):
                self.ledger.strange.append(f"upload {status} {told[:200]!r}")
                return
            await asyncio.sleep(rng.uniform(0.5, 3))
        self.ledger.refused["upload"] += 1

    # how it is asked

    async def image(
        self, http: aiohttp.ClientSession, rng: random.Random, kind: str, route: str, body: dict[str, Any]
    ) -> None:
        self.ledger.sent[kind] += 1
        status, data = await self.post(http, self.url(rng, route), json=body)
        if status == 200:
            self.ledger.answered[kind] += 1
            digest = hashlib.sha256(data).hexdigest()
            self.ledger.images.append(Image(route, body, digest))
            self.ledger.bytes.setdefault(digest, data)
        elif status in (429, 503):
            self.ledger.refused[kind] += 1
        elif status is None:
            self.ledger.broken[kind] += 1
        else:
            self.ledger.strange.append(f"{kind} {status} {data[:200]!r}")

    async def job(
        self, http: aiohttp.ClientSession, rng: random.Random, kind: str, route: str, body: dict[str, Any],
        headers: dict[str, str],
    ) -> None:  # fmt: skip
        """Asked for until it is accepted, by whichever API, and sometimes once more; under one key."""
        self.ledger.sent[kind] += 1
        headers = headers | {"Idempotency-Key": f"{rng.getrandbits(64):x}"}
        ids: set[str] = set()
        again = rng.random() < 0.3
        for _ in range(TRIES):
            status, data = await self.post(http, self.url(rng, route), json=body, headers=headers)
            if status == 202:
                ids.add(json.loads(data)["id"])
                if not again:
                    break
                again = False
            elif status and status not in (429, 503):
                self.ledger.strange.append(f"{kind} {status} {data[:200]!r}")
                break
            await asyncio.sleep(rng.uniform(0.2, 3))
        if not ids:
            self.ledger.refused[kind] += 1
            self.ledger.unknown.append((route, body))
            return
        self.ledger.answered[kind] += 1
        accepted = Accepted(route, body, ids)
        self.ledger.jobs.append(accepted)
        if rng.random() < 0.2:
            await asyncio.sleep(rng.uniform(0, 6))
            accepted.cancel = True  # whether or not it is heard
            await self.post(http, self.url(rng, f"/jobs/{next(iter(ids))}"), method="DELETE")

    async def post(
        self, http: aiohttp.ClientSession, url: str, method: str = "POST", **more: Any
    ) -> tuple[int | None, bytes]:
        """Status and body; None if the connection broke or nothing came."""
        try:
            async with http.request(method, url, **more) as answer:
                data = await answer.read()
                if answer.status in (429, 503):
                    self.ledger.reasons[json.loads(data)["detail"]] += 1
                return answer.status, data
        except (aiohttp.ClientError, TimeoutError, OSError):
            return None, b""

    def url(self, rng: random.Random, route: str) -> str:
        return f"http://127.0.0.1:{rng.choice(self.ports)}{route}"
