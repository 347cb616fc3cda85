"""What keeping images safe costs: requests a second beside the same service without it (bench/bare.py).

    python -m bench.job_core

Both services are up, and loaded by turns.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
from statistics import median

import aiohttp

from bench.http import running_service

PAIRS, SECONDS = 9, 3.0
SIDE = 64


def run() -> None:
    """Prints a line a number of clients."""
    with running_service() as safe, running_service("bench.bare") as bare:
        for clients in (1, 32):
            rates: dict[int, list[float]] = {safe: [], bare: []}
            for pair in range(PAIRS + 1):
                for port in (safe, bare) if pair % 2 else (bare, safe):
                    rate = asyncio.run(load(port, clients))
                    rates[port] += [rate] * (pair > 0)  # the first one is to warm up
            ratios = [ours / theirs for ours, theirs in zip(rates[safe], rates[bare], strict=True)]
            print(
                f"{SIDE} px, {clients:2d} clients: {median(rates[safe]):.1f} requests/s, "
                f"{median(rates[bare]):.1f} without; {median(ratios):.3f} of it "
                f"(median of {PAIRS} pairs, {min(ratios):.2f} to {max(ratios):.2f})"
            )
            sys.stdout.flush()


async def load(port: int, clients: int) -> float:
    """Each asks for one image after the other; gives requests a second."""
    loop = asyncio.get_running_loop()
    seeds, answered = itertools.count(), 0
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        until = loop.time() + SECONDS

        async def client() -> None:
            nonlocal answered
            while True:
                body = {"seed": next(seeds), "resolution": SIDE}
                async with session.post(f"http://127.0.0.1:{port}/generate", json=body) as answer:
                    await answer.read()
                    answer.raise_for_status()
                if loop.time() >= until:
                    return
                answered += 1

        await asyncio.gather(*(client() for _ in range(clients)))
    return answered / SECONDS


if __name__ == "__main__":
    run()
