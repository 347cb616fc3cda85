"""Where a training stands, told about once a second and kept as JSON lines."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from model.checkpoint import write_atomically
from model.devices import peak_memory
from model.generator import Generator
from model.sampling import native_pictures
from model.trainer import StepLosses, Trainer
from model.watch import Balance, collapse, diverged, plateau

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
    consistency: float  # bCR, its lambdas included
    logit_real: float  # mean over augmented real pictures
    logit_fake: float  # mean over augmented generated pictures
    augment_probability: float  # p, the share of pictures that are transformed
    signs: float  # r_t, running mean sign of the logits of augmented real pictures: 1 when D is sure of all
    right: float  # share of real and generated pictures that D takes for what they are; 1/2 when it guesses
    spread: float  # mean over pixels of the std over seeds, 0..1; near 0 every seed is one picture
    learning_rate: float  # of the next step, warm-up included
    data_wait: float  # share of the time that steps have waited for pictures, 0..1
    memory_bytes: int  # the GPU's at most so far; on a CPU the process's
    distance: float | None = None  # sliced Wasserstein to the pictures, x 1000, measured at the last tick
    warning: str = ""  # a sentence when something looks wrong


def spread(generator: Generator) -> float:
    """Mean over pixels of the standard deviation over seeds, in units of the full range 0..1."""
    pictures = native_pictures(generator, SPREAD_SEEDS)
    return float(pictures.add(1).div(2).std(0).mean())


class Reporter:
    """Turns steps into reports: to ``on_progress`` and to a log of JSON lines."""

    def __init__(
        self,
        trainer: Trainer,
        total: int,
        log: Path,
        on_progress: Callable[[Progress], None],
    ) -> None:
        self.trainer, self.total, self.log, self.on_progress = trainer, total, log, on_progress
        self.first_seen = trainer.images_seen
        self.started = time.monotonic()
        self.reported = self.measured = float("-inf")
        self.spread = 0.0
        self.distances = _logged_distances(log)  # (kimg, distance) of all ticks
        self.balance = Balance()
        for report in read_log(log):
            if "right" in report:
                self.balance.follow(report["kimg"], report["right"])

    def tick(self, distance: float) -> None:
        """Called at every tick with the distance between averaged seeds and the pictures."""
        self.distances.append((self.trainer.images_seen / 1000, round(distance, 3)))

    def step(self, losses: StepLosses) -> None:
        """Called after every step; reports if the last report is old enough, and at the end.

        Raises ``TrainingError`` if a loss is not a number.
        """
        now, seen = time.monotonic(), self.trainer.images_seen
        if now - self.reported < REPORT_SECONDS and seen < self.total:
            return
        loss_d, loss_g, consistency, real, fake = (float(value) for value in losses[:5])
        if not all(math.isfinite(value) for value in (loss_d, loss_g, consistency)):
            raise diverged(seen / 1000)
        if now - self.measured >= SPREAD_SECONDS or seen >= self.total:
            self.spread, self.measured = spread(self.trainer.average), now
        self.reported = now
        speed, control = (seen - self.first_seen) / (now - self.started), self.trainer.control
        self.balance.follow(seen / 1000, control.right)
        progress = Progress(
            kimg=seen / 1000,
            total_kimg=self.total / 1000,
            images_per_second=round(speed, 2),
            eta_seconds=round(max(0, self.total - seen) / speed, 1),
            loss_g=round(loss_g, 4),
            loss_d=round(loss_d, 4),
            consistency=round(consistency, 4),
            logit_real=round(real, 4),
            logit_fake=round(fake, 4),
            augment_probability=round(float(control.p), 4),
            signs=round(float(control.signs[0]), 4),
            right=round(control.right, 4),
            spread=round(self.spread, 4),
            learning_rate=self.trainer.learning_rate,
            data_wait=round(min(1.0, self.trainer.data_seconds / (now - self.started)), 4),
            memory_bytes=peak_memory(self.trainer.device),
            distance=self.distances[-1][1] if self.distances else None,
            warning=collapse(seen / 1000, self.spread, loss_d, loss_g)
            or self.balance.sentence(self.trainer.config)
            or plateau(self.distances),
        )
        with self.log.open("a") as file:
            file.write(json.dumps(asdict(progress)) + "\n")
        self.on_progress(progress)


def read_log(log: Path) -> list[dict[str, float]]:
    """All reports of a run so far; a line cut off by a crash is left out."""
    reports = []
    for line in log.read_text(errors="replace").splitlines() if log.exists() else ():
        try:
            report = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(report, dict) and "kimg" in report:
            reports.append(report)
    return reports


def trim_log(log: Path, kimg: float) -> None:
    """Takes out of the log what comes after the checkpoint that a run goes on from: it will be told again."""
    if log.exists():
        kept = "".join(json.dumps(report) + "\n" for report in read_log(log) if report["kimg"] <= kimg)
        write_atomically(log, lambda path: path.write_text(kept))


def _logged_distances(log: Path) -> list[tuple[float, float]]:
    """Where each distance of an interrupted run first stands in its log."""
    found: list[tuple[float, float]] = []
    for report in read_log(log):
        distance = report.get("distance")
        if distance is not None and (not found or found[-1][1] != distance):
            found.append((report["kimg"], distance))
    return found
