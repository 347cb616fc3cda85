"""Images under faults: workers, the API and readers that die, stop or sleep. An image is whole or refused."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import statistics
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from redis import Redis

from contract import keys
from contract.queue import GENERATE
from contract.stream import CHUNK, STALL_SECONDS, WINDOW
from tests.acceptance.processes import Processes, cpu_seconds, resident, until
from tests.faults.stack import Valkey

pytestmark = [pytest.mark.faults, pytest.mark.timeout(240)]

LARGE = {"seed": 3, "resolution": 2400}
BODIES = [
    ("/generate", {"seed": 1, "resolution": 8000}),
    ("/generate", {"seeds": [1, 2], "resolution": 6000}),
    ("/interpolate", {"seeds": [1, 2], "frames": 500, "resolution": 400}),
]


class Fleet:
    """The image workers of ``stack``: killed and started as a test needs them."""

    def __init__(self, stack: Processes) -> None:
        self.stack = stack
        self.workers = [stack.running[1]]

    def be(self, count: int) -> list[subprocess.Popen[bytes]]:
        """So many that are alive."""
        self.workers = [worker for worker in self.workers if worker.poll() is None]
        while len(self.workers) < count:
            self.workers.append(self.stack.start("worker"))
        while len(self.workers) > count:
            self.end(self.workers[-1], signal.SIGKILL)
        until(lambda: self.stack.ready(count), 60)
        return self.workers

    def end(self, worker: subprocess.Popen[bytes], number: int) -> None:
        worker.send_signal(number)
        worker.wait(30)
        self.workers.remove(worker)

    def busy(self, seconds: float = 1.0) -> float:
        """CPU seconds of all of them in that time."""
        before = sum(cpu_seconds(worker.pid) for worker in self.workers)
        time.sleep(seconds)
        return sum(cpu_seconds(worker.pid) for worker in self.workers) - before


@pytest.fixture(scope="module")
def fleet(stack: Processes) -> Fleet:
    return Fleet(stack)


@pytest.fixture(scope="module")
def large(stack: Processes) -> bytes:
    """What ``LARGE`` is answered with."""
    return stack.draw("/generate", **LARGE)


def keys_of_images(redis: Redis) -> set[str]:
    return {key for word in ("credits", "replies") for key in redis.keys(f"vitgan:{word}:*")}  # type: ignore[union-attr]


def waits_for_credit(redis: Redis) -> bool:
    """Whether a worker's thread is held up by a client that takes nothing: it asks again every second."""
    for _ in range(20):
        if any(client["cmd"] == "blpop" and "b" in client["flags"] for client in redis.client_list()):  # type: ignore[union-attr]
            return True
        time.sleep(0.1)
    return False


@contextlib.contextmanager
def sleeping_reader(stack: Processes, **body: object) -> Iterator[socket.socket]:
    """A client that has read the first bytes of its answer, and reads no more."""
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", stack.port))
        sent = json.dumps(body)
        head = f"POST /generate HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(sent)}\r\n"
        client.sendall(f"{head}Content-Type: application/json\r\n\r\n{sent}".encode())
        assert client.recv(12) == b"HTTP/1.1 200"
        yield client


@pytest.mark.parametrize(("route", "body"), BODIES)
def test_nothing_is_drawn_for_a_client_that_has_gone(
    stack: Processes, fleet: Fleet, valkey: Valkey, route: str, body: dict[str, object]
) -> None:
    """The client closes in mid-stream: a second later the worker is idle, and no key of the image is left."""
    fleet.be(1)
    before = keys_of_images(valkey.redis)
    with stack.streamed(route, **body) as answer:
        next(answer.iter_raw())
        until(lambda: fleet.busy(0.5) > 0, 10)
    time.sleep(1)
    assert fleet.busy() < 0.2
    assert keys_of_images(valkey.redis) <= before


def test_a_client_that_never_reads_costs_a_window_and_is_given_up(
    stack: Processes, fleet: Fleet, valkey: Valkey
) -> None:
    """The worker stops when the window is full, waits 30 s, and is free; nobody's memory has grown by more.

    The answer breaks off: it is never short and whole at once.
    """
    pids = {"api": stack.api.pid, "worker": fleet.be(1)[0].pid, "redis": valkey.pid}
    stack.draw("/generate", seed=1, resolution=1024)  # everything is loaded
    before = {name: resident(pid) for name, pid in pids.items()}
    with sleeping_reader(stack, seed=1, resolution=16_000, model="cifar10-32") as client:
        until(lambda: waits_for_credit(valkey.redis) and fleet.busy() < 0.2, 60)
        full = time.monotonic()
        grown = {name: resident(pid) - before[name] for name, pid in pids.items()}
        assert grown["api"] < 2 * WINDOW * CHUNK + 32 * 2**20, grown
        assert grown["worker"] < 128 * 2**20, grown  # the strips of an image so wide
        assert grown["redis"] < 4 * WINDOW * CHUNK, grown
        until(lambda: not waits_for_credit(valkey.redis), STALL_SECONDS + 10)
        assert time.monotonic() - full > STALL_SECONDS / 2  # it was not given up for a short pause
        assert fleet.busy() < 0.2
        client.settimeout(3)
        end = b""
        with contextlib.suppress(OSError):  # nothing more comes, or the connection is broken
            while more := client.recv(2**20):
                end = more
        assert not end.endswith(b"0\r\n\r\n")
    assert all(0 < valkey.redis.ttl(key) <= 120 for key in keys_of_images(valkey.redis))  # type: ignore[operator]
    assert stack.draw("/generate", seed=1, resolution=64)


def test_a_stopped_worker_finishes_or_hands_over(
    stack: Processes, fleet: Fleet, valkey: Valkey, large: bytes
) -> None:
    """SIGTERM to a worker that draws four large images and some small ones: out in 10 s, all images whole."""
    (stopped,) = list(fleet.be(1))
    small = stack.draw("/generate", seed=1, resolution=64)
    with ThreadPoolExecutor(12) as clients:
        larges = [clients.submit(stack.draw, "/generate", **LARGE) for _ in range(4)]
        until(lambda: fleet.busy(0.2) > 0.1, 20)
        smalls = [clients.submit(stack.draw, "/generate", seed=1, resolution=64) for _ in range(6)]
        time.sleep(0.2)
        started = time.monotonic()
        stack_other = stack.start("worker")
        stopped.send_signal(signal.SIGTERM)
        stopped.wait(10)
        assert time.monotonic() - started < 10
        fleet.workers = [stack_other]
        assert [image.result(60) == small for image in smalls] == [True] * 6
        assert [image.result(60) == large for image in larges] == [True] * 4
    assert stopped.returncode == 0
    assert not valkey.redis.llen(keys.of_version(GENERATE))


def test_images_do_not_wait_for_a_training(stack: Processes, fleet: Fleet) -> None:
    """A burst of images beside a long training: slower, as they share the cores, but none waits for it."""
    fleet.be(1)
    alone = statistics.median(burst(stack))
    with stack.http() as http:
        body = {"dataset": "colours", "preset": "vitgan-ti-32", "name": "beside", "kimg": 1000}
        job = http.post("/train", json=body).headers["location"]
        until(lambda: bool(http.get(job).json()["progress"]), 60)
        beside = burst(stack)
        http.delete(job)
        until(lambda: http.get(job).json()["status"] == "cancelled", 20)
    assert statistics.median(beside) < 8 * max(alone, 0.05), (alone, beside)
    assert max(beside) < 10  # the training would have taken hours


def burst(stack: Processes, count: int = 24) -> list[float]:
    """Seconds of images that are asked for four at a time."""

    def timed(seed: int) -> float:
        started = time.monotonic()
        stack.draw("/generate", seed=seed, resolution=128)
        return time.monotonic() - started

    with ThreadPoolExecutor(4) as clients:
        return list(clients.map(timed, range(count)))


def test_a_killed_api_frees_its_worker_and_keeps_its_jobs(
    stack: Processes, fleet: Fleet, valkey: Valkey, large: bytes
) -> None:
    """SIGKILL to the API in mid-image: the client's connection breaks, the worker draws no further than the
    window, and a new API has the job that the old one had accepted.
    """
    fleet.be(1)
    with stack.http() as http:
        asked = http.post("/generate", json=LARGE, headers={"Prefer": "respond-async"})
    with stack.streamed("/generate", seed=1, resolution=8000) as answer:
        chunks = answer.iter_raw()
        next(chunks)
        stack.api.kill()
        stack.api.wait()
        with pytest.raises(httpx.RemoteProtocolError):
            list(chunks)
    stack.api = stack.running[0] = stack.start("api", "--port", str(stack.port))
    until(lambda: stack.ready(1), 30)
    job = asked.headers["location"]
    with stack.http() as http:
        until(lambda: http.get(job).json()["status"] == "succeeded", 60)
        assert http.get(f"{job}/result").content == large
    until(lambda: fleet.busy() < 0.2, 20)
    assert stack.draw("/generate", seed=1, resolution=64)
    waiting = sum(valkey.redis.llen(key) for key in valkey.redis.keys("vitgan:replies:*"))  # type: ignore[misc,union-attr]
    assert waiting <= WINDOW
    assert all(0 < valkey.redis.ttl(key) <= 120 for key in keys_of_images(valkey.redis))  # type: ignore[operator]
