"""Large images on their way: slow readers, readers that leave, workers that die."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from PIL import Image
from redis import Redis

from contract import keys
from contract.queue import GENERATE
from contract.stream import CHUNK, WINDOW
from tests.acceptance.processes import Processes, cpu_seconds, resident, service_of, until

pytestmark = pytest.mark.acceptance

SIDE = 3000
SQUARE = 16_384


@pytest.fixture
def pair(tmp_path: Path, redis: Redis, valkey_url: str) -> Iterator[Processes]:
    """An API and two image workers."""
    with service_of(2, tmp_path, redis, valkey_url) as processes:
        yield processes


def decoded(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


@pytest.mark.parametrize(
    ("route", "body"),
    [
        ("/generate", {"seed": 3, "resolution": SIDE}),
        ("/generate", {"seeds": "0-15", "layout": "grid", "resolution": 700}),
        ("/interpolate", {"seeds": [1, 2], "frames": 30, "resolution": 400}),
    ],
)
def test_another_worker_goes_on_where_one_was_killed(
    pair: Processes, route: str, body: dict[str, object]
) -> None:
    whole = pair.draw(route, **body)
    assert decoded(whole).size
    workers = pair.running[1:]
    before = {worker.pid: cpu_seconds(worker.pid) for worker in workers}
    with pair.streamed(route, **body) as answer:
        received, killed = b"", False
        for chunk in answer.iter_raw():
            received += chunk
            if not killed and len(received) > len(whole) / 5:
                drawing = max(workers, key=lambda worker: cpu_seconds(worker.pid) - before[worker.pid])
                drawing.kill()
                drawing.wait()
                killed = True
    assert killed
    assert received == whole


def test_without_another_worker_the_connection_breaks(tmp_path: Path, redis: Redis, valkey_url: str) -> None:
    with service_of(1, tmp_path, redis, valkey_url) as processes:
        processes.api.terminate()
        processes.api.wait()
        processes.env["VITGAN_ANSWER_SECONDS"] = "8"
        processes.running[0] = processes.start("api", "--port", str(processes.port))
        until(lambda: processes.ready(1), 30)
        with processes.streamed("/generate", seed=3, resolution=SIDE) as answer:
            chunks = answer.iter_raw()
            next(chunks)
            processes.running[1].kill()
            with pytest.raises(httpx.RemoteProtocolError):
                list(chunks)


def test_a_reader_that_leaves_stops_the_work_and_leaves_nothing_behind(pair: Processes, redis: Redis) -> None:
    lasting = [key for key in redis.keys("vitgan:*") if "replies" not in key]  # type: ignore[union-attr]
    with pair.streamed("/generate", seed=1, resolution=8000) as answer:
        for _ in zip(range(3), answer.iter_raw(), strict=False):
            pass
    until(lambda: drawing(pair, 1.0) < 0.3, 5)  # drawing would take about 1
    left = [key for key in redis.keys("vitgan:*") if "replies" not in key]  # type: ignore[union-attr]
    assert sorted(left) == sorted(lasting)
    assert redis.llen(keys.of_version(GENERATE)) == 0
    assert pair.draw("/generate", seed=1, resolution=64)


def drawing(pair: Processes, seconds: float) -> float:
    """CPU seconds of all workers in that time."""
    before = sum(cpu_seconds(worker.pid) for worker in pair.running[1:])
    time.sleep(seconds)
    return sum(cpu_seconds(worker.pid) for worker in pair.running[1:]) - before


@pytest.mark.large
@pytest.mark.timeout(1800)
def test_a_square_of_16384_streams_through_flat_memory(pair: Processes, redis: Redis, tmp_path: Path) -> None:
    pids = [process.pid for process in pair.running]
    pair.draw("/generate", seed=1, resolution=1024)  # everything is loaded
    before = {pid: resident(pid) for pid in pids}
    most = dict(before)
    redis_before = redis.info("memory")["used_memory"]  # type: ignore[index]
    redis_most = redis_before
    path = tmp_path / "square.png"
    started = looked = time.monotonic()
    with path.open("wb") as file, pair.streamed("/generate", seed=1, resolution=SQUARE) as answer:
        for number, chunk in enumerate(answer.iter_raw()):
            if number == 0:
                print(f"first byte after {time.monotonic() - started:.2f} s")
            file.write(chunk)
            if time.monotonic() - looked > 1:
                looked = time.monotonic()
                most = {pid: max(most[pid], resident(pid)) for pid in pids}
                redis_most = max(redis_most, redis.info("memory")["used_memory"])  # type: ignore[index]
    seconds, size = time.monotonic() - started, path.stat().st_size
    growth = {pid: most[pid] - before[pid] for pid in pids}
    print(f"{seconds:.0f} s, {size} bytes; grown by {growth}, Redis {redis_most - redis_before}")
    assert max(growth.values()) < 200 * 2**20
    assert redis_most - redis_before < 4 * WINDOW * CHUNK
    Image.MAX_IMAGE_PIXELS = None
    with Image.open(path) as image:
        image.load()
        assert image.size == (SQUARE, SQUARE)
        tile = image.crop((4096, 8192, 4096 + 300, 8192 + 200))
    part = pair.draw("/generate", seed=1, resolution=SQUARE, region=[4096, 8192, 300, 200])
    assert decoded(part).tobytes() == tile.tobytes()
