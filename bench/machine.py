"""What the machine can do: matrix products and sines a second, on one thread and on all."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from worker.engine import core_count


@dataclass(frozen=True)
class Limits:
    """Of all cores together."""

    cores: int
    matmul: float  # FLOP/s, 64-wide batches as the painter has them
    sine: float  # values/s, in place, in the cache


def best(work: Callable[[], object], times: int = 10, rounds: int = 5) -> float:
    """Seconds of one call: the best of several rounds, so that a busy neighbour counts least."""
    work()
    found = float("inf")
    for _ in range(rounds):
        started = time.perf_counter()
        for _ in range(times):
            work()
        found = min(found, (time.perf_counter() - started) / times)
    return found


def measure() -> Limits:
    """Measures and prints."""
    cores = core_count(0)
    for threads in sorted({1, cores}):
        limits = _measure(threads)
    torch.set_num_threads(1)
    return limits


def _measure(threads: int) -> Limits:
    torch.set_num_threads(threads)
    square = torch.randn(1024, 1024)
    weight, x, out = torch.randn(32, 64, 64), torch.randn(32, 64, 256), torch.empty(32, 64, 256)
    angles = torch.randn(64 * 1024)
    large = 2 * 1024**3 / best(lambda: square @ square)
    narrow = 2 * 32 * 64 * 64 * 256 / best(lambda: torch.bmm(weight, x, out=out))
    sine = angles.numel() / best(angles.sin_, times=100)
    print(
        f"{threads} threads: matmul 1024^3 {large / 1e9:.0f} GFLOP/s, "
        f"64-wide {narrow / 1e9:.0f} GFLOP/s, sine {sine / 1e9:.2f} G/s"
    )
    return Limits(threads, narrow, sine)
