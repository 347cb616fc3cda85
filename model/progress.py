"""Where a training stands, told about once a second and kept as JSON lines."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from torch import Tensor

from model.generator import Generator
from model.sampling import native_pictures

REPORT_SECONDS = 1.0  # at most one report in this time
SPREAD_SECONDS = 10.0  # the spread is drawn, so it is measured more rarely
SPREAD_SEEDS = range(32)


@dataclass(frozen=True)
class Progress:
    """One report."""

    kimg: float  # thousand pictures seen by the discriminator
    total_kimg: float
    images_per_second: float  # since this process began
    eta_seconds: float
    loss_g: float  # ln 2 = 0.693 when D knows nothing
    loss_d: float  # 2 ln 2 = 1.386 when D knows nothing
    spread: float  # mean over pixels of the std over seeds, 0..1; near 0 every seed is one picture


def spread(generator: Generator) -> float:
    """Mean over pixels of the standard deviation over seeds, in units of the full range 0..1."""
    pictures = native_pictures(generator, SPREAD_SEEDS)
    return float(pictures.add(1).div(2).std(0).mean())


class Reporter:
    """Turns steps into reports: to ``on_progress`` and to a log of JSON lines."""

    def __init__(
        self,
        generator: Generator,
        seen: int,
        total: int,
        log: Path,
        on_progress: Callable[[Progress], None],
    ) -> None:
        self.generator, self.total, self.log, self.on_progress = generator, total, log, on_progress
        self.first_seen = seen
        self.started = time.monotonic()
        self.reported = self.measured = float("-inf")
        self.spread = 0.0

    def step(self, seen: int, loss_d: Tensor, loss_g: Tensor) -> None:
        """Called after every step; reports if the last report is old enough, and at the end."""
        now = time.monotonic()
        if now - self.reported < REPORT_SECONDS and seen < self.total:
            return
        if now - self.measured >= SPREAD_SECONDS or seen >= self.total:
            self.spread, self.measured = spread(self.generator), now
        self.reported = now
        speed = (seen - self.first_seen) / (now - self.started)
        progress = Progress(
            kimg=seen / 1000,
            total_kimg=self.total / 1000,
            images_per_second=round(speed, 2),
            eta_seconds=round(max(0, self.total - seen) / speed, 1),
            loss_g=round(float(loss_g), 4),
            loss_d=round(float(loss_d), 4),
            spread=round(self.spread, 4),
        )
        with self.log.open("a") as file:
            file.write(json.dumps(asdict(progress)) + "\n")
        self.on_progress(progress)
