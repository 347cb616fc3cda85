"""What the service adds to the engine: one image, and a zip of many, beside drawing them in process.

By turns in one run: the service draws, then this process does, with the same threads.
"""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPConnection
from statistics import median

from bench.http import running_service
from contract.messages import COLOUR_PNG, Side
from contract.models import ModelLibrary, PublishedModel
from contract.settings import SHIPPED_MODELS
from worker.encoders import encoder_for
from worker.engine import Engine, core_count, use_threads

ROUNDS, ONE_BY_ONE = 5, 30
BATCH = 32
SEEDS = {64: 1000, 256: 200}


def run() -> None:
    """Prints both, and what is between them."""
    use_threads(1)
    engine = Engine(ModelLibrary(SHIPPED_MODELS), core_count(0))
    model = ModelLibrary(SHIPPED_MODELS).get("personas")
    with (
        running_service() as port,
        closing(HTTPConnection("127.0.0.1", port, timeout=300)) as http,
        ThreadPoolExecutor(core_count(0)) as pool,
    ):
        one_image(engine, model, http)
        for side, count in SEEDS.items():
            many_images(engine, model, http, pool, side, count)


def one_image(engine: Engine, model: PublishedModel, http: HTTPConnection) -> None:
    """64 px, one after the other."""
    spent: dict[str, list[float]] = {"service": [], "in process": []}
    for seed in range(ROUNDS * ONE_BY_ONE):
        at_service = seed // ONE_BY_ONE % 2 == 0
        started = time.perf_counter()
        if at_service:
            ask(http, seed=seed, resolution=64)
        else:
            draw(engine, model, [seed], 64)
        spent["service" if at_service else "in process"].append(1000 * (time.perf_counter() - started))
    by, alone = (median(times) for times in spent.values())
    print(
        f"one 64 px image: {by:.1f} ms by the service, {alone:.1f} ms in process, {by - alone:.1f} ms between"
    )


def many_images(
    engine: Engine,
    model: PublishedModel,
    http: HTTPConnection,
    pool: ThreadPoolExecutor,
    side: int,
    count: int,
) -> None:
    """A zip, and the same seeds in process in batches side by side."""
    ratios = []
    for _ in range(ROUNDS):
        http.close()  # the service has not heard of us for long, and may have closed it
        http.connect()
        started = time.perf_counter()
        ask(http, seeds=f"0-{count - 1}", resolution=side)
        by = time.perf_counter() - started
        started = time.perf_counter()
        batches = [range(first, min(first + BATCH, count)) for first in range(0, count, BATCH)]
        list(pool.map(lambda seeds: draw(engine, model, list(seeds), side), batches))
        alone = time.perf_counter() - started
        ratios.append(alone / by)
        print(f"{count} seeds at {side} px: zip {count / by:.0f} images/s, engine alone {count / alone:.0f}")
    print(f"the zip has {median(ratios):.0%} of the engine's images/s (median of {ROUNDS})")


def ask(http: HTTPConnection, **body: object) -> bytes:
    """By the standard library's client, the quickest for one request."""
    http.request("POST", "/generate", json.dumps(body), {"Content-Type": "application/json"})
    answer = http.getresponse()
    assert answer.status == 200
    return answer.read()


def draw(engine: Engine, model: PublishedModel, seeds: list[int], side: int) -> list[bytes]:
    """PNGs."""
    axis = Side.whole(side)
    files = [encoder_for(model.digest, seed, 1.0, axis, axis, COLOUR_PNG) for seed in seeds]
    data = [b""] * len(seeds)
    for strip in engine.draw(model.name, model.digest, seeds, [1.0] * len(seeds), axis, axis):
        for number, (file, rows) in enumerate(zip(files, strip, strict=True)):
            data[number] += file.strip(rows).data
    return [part + file.end().data for part, file in zip(data, files, strict=True)]


if __name__ == "__main__":
    run()
