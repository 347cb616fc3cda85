"""Both discriminators, by augmentation and batch: training runs of equal CPU time.

    python -m bench.comparison TRAIN.zip HELDOUT.zip OUT --rows vit-none-16,stylegan2-translation-16

A row is KIND-AUGMENTATION-BATCH, with the kinds and augmentations below. OUT/ROW is a run like those of
``vitgan train``, with ``result.json``: settings, kimg, measures against the held-out pictures, and the game
over the run. A row that has its result is not run again; one that was stopped by a signal goes on.
"""

from __future__ import annotations

import json
import signal
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from torch import Tensor

from model.checkpoint import load_generator
from model.config import Config
from model.data import Pictures, load_pictures
from model.evaluation.evaluate import evaluate
from model.presets import preset
from model.progress import Progress, read_log
from model.sampling import grid_image, native_pictures
from model.training import train

MEASURED = 1000  # pictures of each set
TELL_SECONDS = 60  # of CPU time, between lines of progress
SHOWN = 16  # seeds of a row in the picture
NO_BCR = ("training.bcr_real=0", "training.bcr_fake=0")
WIDE = ("generator.width=192", "generator.heads=6", "generator.blocks=4")
KINDS: dict[str, tuple[str, tuple[str, ...]]] = {  # the preset and what is changed
    "vit": ("vitgan-ti-32", NO_BCR),
    "vit+bcr": ("vitgan-ti-32", ()),
    "vit+slow": ("vitgan-ti-32", (*NO_BCR, "training.generator_rate=0.5")),
    "stylegan2": ("vitgan-ti-32-stylegan2", ()),
    "stylegan2+wide": ("vitgan-ti-32-stylegan2", WIDE),
}
AUGMENTATIONS: dict[str, tuple[str, ...]] = {
    "none": ("training.augment=",),
    "translation": ("training.augment=translation",),
    "full": ("training.augment=colour,translation,cutout",),
    "adaptive": ("training.augment=colour,translation,cutout", "training.augment_probability=adaptive"),
}
GAME = ("kimg", "loss_d", "loss_g", "right", "signs", "augment_probability", "spread", "distance")


def config_of(row: str) -> Config:
    """The configuration that a row's name stands for. Raises ``ValueError`` if it stands for none."""
    kind, _, rest = row.partition("-")
    augmentation, _, batch = rest.partition("-")
    if kind not in KINDS or augmentation not in AUGMENTATIONS or not batch.isdigit():
        raise ValueError(
            f"row {row!r} is unknown: give KIND-AUGMENTATION-BATCH, of {', '.join(KINDS)} "
            f"and {', '.join(AUGMENTATIONS)}"
        )
    name, settings = KINDS[kind]
    return preset(name, int(batch)).with_setting(*settings, *AUGMENTATIONS[augmentation])


@dataclass
class Budget:
    """CPU seconds that a row may spend, over all processes that ran it; what a kill loses counts too."""

    file: Path
    limit: float
    before: float = 0.0
    began: float = field(default_factory=time.process_time)
    told: float = 0.0  # CPU seconds at which it was told last
    interrupted: bool = False

    def __post_init__(self) -> None:
        if self.file.exists():
            self.before = float(self.file.read_text())
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, self.interrupt)

    def interrupt(self, *_: object) -> None:
        """Stops the row after its step."""
        self.interrupted = True

    @property
    def spent(self) -> float:
        """CPU seconds so far."""
        return self.before + time.process_time() - self.began

    def write(self, progress: Progress) -> None:
        """Keeps what is spent, and tells how far the row is, at every report."""
        self.file.write_text(f"{self.spent:.1f}\n")
        if self.spent - self.told >= TELL_SECONDS:
            self.told = self.spent
            typer.echo(
                f"{self.file.parent.name}: {self.spent / 60:.1f} of {self.limit / 60:g} minutes, "
                f"{progress.kimg:.1f} kimg, distance {progress.distance}, {progress.right:.0%} judged right"
            )

    def is_over(self) -> bool:
        """Whether the row has to stop."""
        return self.interrupted or self.spent >= self.limit


def run(row: str, pictures: Pictures, heldout: Tensor, minutes: float, out: Path) -> bool:
    """Trains one row, or goes on with it, and writes its result; False if a signal stopped it."""
    out.mkdir(parents=True, exist_ok=True)
    config, budget = config_of(row), Budget(out / "cpu-seconds.txt", minutes * 60)
    train(
        config, pictures, out, kimg=1e6, tick_kimg=10, resume=True,
        on_progress=budget.write, should_stop=budget.is_over,
    )  # fmt: skip
    if budget.interrupted:
        return False
    minutes = round(budget.spent / 60, 1)
    generator = load_generator(out / "model")
    report, reports = evaluate(generator, heldout, MEASURED), read_log(out / "log.jsonl")
    strip = grid_image(native_pictures(generator, range(SHOWN)), columns=SHOWN, zoom=2)
    strip.save(out / "strip.png")
    result: dict[str, Any] = {
        "row": row, "kimg": reports[-1]["kimg"], "cpu_minutes": minutes,
        "measures": report.rows, "training": asdict(config.training),
        "game": {name: [one[name] for one in reports[:: max(1, len(reports) // 200)]] for name in GAME},
    }  # fmt: skip
    (out / "result.json").write_text(json.dumps(result))
    typer.echo(f"{row}: {result['kimg']:.0f} kimg, {report.rows['model']}")
    return True


def main(
    data: Path,
    heldout: Path,
    out: Path,
    rows: Annotated[str, typer.Option(help="Names, in this order.")],
    minutes: Annotated[float, typer.Option(help="CPU minutes of a row.")] = 45,
) -> None:
    """Runs rows that have no result yet, on one thread."""
    torch.set_num_threads(1)
    names = rows.split(",")
    configs = [config_of(name) for name in names]  # a wrong name is told before the first row
    resolution, cache = configs[0].generator.resolution, out.parent / "pictures"
    pictures = load_pictures(data, resolution, configs[0].training.oversample, cache=cache)
    kept = load_pictures(heldout, resolution, cache=cache)
    for name in names:
        if not (out / name / "result.json").exists() and not run(
            name, pictures, kept.take(range(len(kept))), minutes, out / name
        ):
            raise SystemExit(1)


if __name__ == "__main__":
    typer.run(main)
