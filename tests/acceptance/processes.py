"""Processes started one by one on a Redis of the test's own, so that each can be watched and killed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from redis import Redis

from tests.acceptance.conftest import stat
from tests.conftest import free_port


class Processes:
    """An API and any number of image workers."""

    def __init__(self, folder: Path, redis_url: str, **env: str) -> None:
        self.port = free_port()
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("VITGAN_", "REDIS_"))}
        self.env = clean | {"REDIS_URL": redis_url, "VITGAN_DATA_DIR": str(folder), "OMP_NUM_THREADS": "1"}
        self.env |= env
        self.running: list[subprocess.Popen[bytes]] = []
        self.api = self.start("api", "--port", str(self.port))

    def start(self, *command: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen([sys.executable, "-m", "cli", *command], env=self.env)
        self.running.append(process)
        return process

    def stop(self) -> None:
        for process in self.running:
            process.terminate()
        for process in self.running:
            process.wait(30)

    def http(self) -> httpx.Client:
        return httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=60)

    def draw(self, route: str, **body: object) -> bytes:
        """An image, whole."""
        with self.http() as http:
            answer = http.post(route, json=body)
        assert answer.status_code == 200, answer.text
        return answer.content

    @contextmanager
    def streamed(self, route: str, **body: object) -> Iterator[httpx.Response]:
        """An image as it comes."""
        with self.http() as http, http.stream("POST", route, json=body) as answer:
            assert answer.status_code == 200
            yield answer

    def ready(self, workers: int) -> bool:
        try:
            with self.http() as http:
                return bool(http.get("/readyz").json()["image_workers"] == workers)
        except httpx.TransportError:
            return False


@contextmanager
def service_of(workers: int, folder: Path, redis: Redis, redis_url: str, **env: str) -> Iterator[Processes]:
    """An API with so many image workers, ready."""
    redis.flushall()
    processes = Processes(folder, redis_url, **env)
    try:
        for _ in range(workers):
            processes.start("worker")
        until(lambda: processes.ready(workers), 60)
        yield processes
    finally:
        processes.stop()


def until(done: Callable[[], bool], seconds: float) -> None:
    """Waits; fails if it does not come true in time."""
    ends = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < ends, "waited in vain"
        time.sleep(0.05)


def cpu_seconds(pid: int) -> float:
    """Of a process so far, user and system."""
    fields = stat(pid)
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident(pid: int) -> int:
    """Bytes of a process in memory."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
