"""Many more clients than can be served: no image is wrong, no refusal rude, and memory stays flat."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest
from redis import Redis

from contract import keys
from tests.acceptance.processes import Processes, resident, service_of, until

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]

CLIENTS, SEEDS, BOUND = 500, 20, 200
SECONDS = float(os.environ.get("LOAD_SECONDS", "30"))
WARM = 1 / 4  # of the time; memory is measured from there on


@pytest.fixture
def service(tmp_path: Path, redis: Redis, valkey_url: str) -> Iterator[Processes]:
    with service_of(1, tmp_path, redis, valkey_url, VITGAN_MAX_WAITING=str(BOUND)) as processes:
        yield processes


def under_way(redis: Redis) -> int:
    """Images in the whole service, as admission counts them."""
    return sum(json.loads(state)["images"] for state in redis.hvals(keys.GATES))  # type: ignore[union-attr]


class Crowd:
    """Clients that ask again as soon as they are answered, or when they are told to."""

    def __init__(self, port: int, expected: dict[int, bytes]) -> None:
        self.url, self.expected = f"http://127.0.0.1:{port}/generate", expected
        self.seen: Counter[str] = Counter()
        self.until = time.monotonic() + SECONDS

    async def run(self) -> None:
        connector = aiohttp.TCPConnector(limit=CLIENTS)
        async with aiohttp.ClientSession(connector=connector) as http:
            await asyncio.gather(*(self.client(http, number) for number in range(CLIENTS)))

    async def client(self, http: aiohttp.ClientSession, number: int) -> None:
        seed = number % SEEDS
        while time.monotonic() < self.until:
            async with http.post(self.url, json={"seed": seed, "resolution": 64}) as answer:
                data = await answer.read()
                self.seen[self.said(seed, answer, data)] += 1
            if answer.status != 200:
                await asyncio.sleep(float(answer.headers.get("Retry-After", "0")))

    def said(self, seed: int, answer: aiohttp.ClientResponse, data: bytes) -> str:
        if answer.status == 200:
            return "right" if data == self.expected[seed] else "wrong"
        polite = answer.status in (429, 503) and int(answer.headers.get("Retry-After", "0")) > 0
        return "refused" if polite else f"{answer.status} {data[:200]!r}"


async def watched(crowd: Crowd, redis: Redis, pids: list[int]) -> tuple[int, dict[int, list[int]]]:
    """The most that was under way, and each process's memory from when it is warm until the end."""
    started, most = time.monotonic(), 0
    memory: dict[int, list[int]] = {pid: [] for pid in pids}
    running = asyncio.create_task(crowd.run())
    while not running.done():
        most = max(most, await asyncio.to_thread(under_way, redis))
        if time.monotonic() - started > WARM * SECONDS:
            for pid in pids:
                memory[pid].append(resident(pid))
        await asyncio.sleep(0.05)
    await running
    return most, memory


def test_five_hundred_clients_are_served_or_politely_refused(service: Processes, redis: Redis) -> None:
    """Nothing is lost: every image is right to the byte, every refusal says when to come back."""
    expected = {seed: service.draw("/generate", seed=seed, resolution=64) for seed in range(SEEDS)}
    crowd = Crowd(service.port, expected)
    pids = [process.pid for process in service.running]
    most, memory = asyncio.run(watched(crowd, redis, pids))
    growth = {pid: (max(sizes) - sizes[0]) >> 20 for pid, sizes in memory.items()}
    print(f"{SECONDS:g} s: {dict(crowd.seen)}, at most {most} under way, grown by {growth} MB")
    assert set(crowd.seen) == {"right", "refused"}
    assert crowd.seen["right"] > 20 * SECONDS
    assert most <= BOUND
    assert max(growth.values()) < 100
    until(lambda: under_way(redis) == 0, 5)
