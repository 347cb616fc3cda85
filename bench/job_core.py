"""What keeping images safe costs: requests a second beside the same service without it (bench/bare.py).

    python -m bench.job_core

Both services are up, and loaded by turns.
"""

from __future__ import annotations

import asyncio
import sys
from statistics import median

from bench.http import asked, running_service

PAIRS, SECONDS = 9, 3.0
SIDE = 64


def run() -> None:
    """Prints a line a number of clients."""
    with running_service() as safe, running_service("bench.bare") as bare:
        for clients in (1, 32):
            rates: dict[int, list[float]] = {safe: [], bare: []}
            for pair in range(PAIRS + 1):
                for port in (safe, bare) if pair % 2 else (bare, safe):
                    answers = asyncio.run(asked(port, SIDE, clients, SECONDS))
                    if pair:  # the first one is to warm up
                        rates[port].append(len(answers) / SECONDS)
            ratios = [ours / theirs for ours, theirs in zip(rates[safe], rates[bare], strict=True)]
            print(
                f"{SIDE} px, {clients:2d} clients: {median(rates[safe]):.1f} requests/s, "
                f"{median(rates[bare]):.1f} without; {median(ratios):.3f} of it "
                f"(median of {PAIRS} pairs, {min(ratios):.2f} to {max(ratios):.2f})"
            )
            sys.stdout.flush()


if __name__ == "__main__":
    run()
