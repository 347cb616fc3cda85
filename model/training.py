"""The training loop. It knows no queue: progress goes to a callback, and a callback may stop it."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import torch

from model.checkpoint import load_checkpoint, save_checkpoint, save_model, write_atomically
from model.config import Config
from model.data import Pictures
from model.devices import Devices
from model.evaluation.swd import QUICK_PICTURES, quick_distance
from model.generator import Generator
from model.progress import Progress, Reporter
from model.sampling import grid_image, native_pictures
from model.trainer import Trainer
from model.watch import diverged, explained

GRID_SEEDS = range(100)  # the seeds of every grid, ten by ten


def train(
    config: Config,
    pictures: Pictures,
    run: Path,
    *,
    kimg: float,
    seed: int = 0,
    tick_kimg: float = 4.0,
    resume: bool = False,
    start: Generator | None = None,
    device: str = "cpu",
    compiler: str = "off",
    deterministic: bool = False,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> bool:
    """Trains for ``kimg`` thousand pictures into the folder ``run``; True if it came to its end.

    Every tick writes a grid of fixed seeds and a checkpoint; the end (or a stop) writes both too, and
    ``run/model``, the averaged generator as a published model. With ``resume`` it goes on from the
    newest checkpoint, if there is one; else it begins with the weights of ``start``. Started by ``torchrun``
    it shares each batch with its peers.

    Raises ``ValueError`` if an argument is wrong or the checkpoint does not fit, ``TrainingError`` if the
    training cannot go on (not a number, memory or disk full); the last checkpoint stays whole.
    """
    devices = Devices(device)
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # what cuBLAS wants for it
        torch.use_deterministic_algorithms(True)  # a GPU adds in any order otherwise
    try:
        with explained():
            trainer = Trainer(config, seed, devices.local, devices=devices, compiler=compiler, start=start)
            if resume and (state := load_checkpoint(run)) is not None:
                trainer.load(state)
            return _loop(trainer, pictures, run, round(kimg * 1000), tick_kimg, on_progress, should_stop)
    finally:
        devices.close()


def _loop(
    trainer: Trainer,
    pictures: Pictures,
    run: Path,
    total: int,
    tick_kimg: float,
    on_progress: Callable[[Progress], None],
    should_stop: Callable[[], bool],
) -> bool:
    devices = trainer.devices
    run.mkdir(parents=True, exist_ok=True)
    if devices.first:
        _describe(trainer, pictures, run, total)
    reals = pictures.batch(0, QUICK_PICTURES, trainer.seed)  # the same at every tick
    tick = max(1, round(tick_kimg * 1000))
    reporter = Reporter(trainer, total, run / "log.jsonl", on_progress)
    while trainer.images_seen < total and not devices.any(should_stop()):
        before = trainer.images_seen
        losses = trainer.step(pictures)
        if devices.first:
            if before // tick != trainer.images_seen // tick and trainer.images_seen < total:
                reporter.tick(quick_distance(trainer.average, reals))
                _snapshot(trainer, run)
            reporter.step(losses)
    if devices.first:
        _snapshot(trainer, run)
        publish(trainer, run / "model")
    devices.wait()
    return trainer.images_seen >= total


def publish(trainer: Trainer, folder: Path) -> None:
    """Writes the averaged generator, with its mean style, as a model folder."""
    trainer.average.measure_w_mean()
    config = trainer.config
    save_model(
        folder,
        trainer.average,
        {
            "preset": config.preset,
            "kimg": trainer.images_seen / 1000,
            "created_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "training": asdict(config.training) | {"seed": trainer.seed},
        },
    )


def _describe(trainer: Trainer, pictures: Pictures, run: Path, total: int) -> None:
    """What the run is made of, before its first step: ``training.json`` and a grid of real pictures."""
    config = {
        **trainer.config.to_dict(),
        "seed": trainer.seed,
        "kimg": total / 1000,
        "pictures": len(pictures),
    }
    description = json.dumps(config, indent=2) + "\n"
    write_atomically(run / "training.json", lambda path: path.write_text(description))
    reals = pictures.batch(0, len(GRID_SEEDS), trainer.seed)
    grid_image(reals, columns=10, zoom=max(1, 64 // pictures.resolution)).save(run / "reals.png")


def _snapshot(trainer: Trainer, run: Path) -> None:
    if not trainer.finite():
        raise diverged(trainer.images_seen / 1000)
    name = f"fakes{trainer.images_seen // 1000:06d}.png"
    zoom = max(1, 64 // trainer.config.generator.resolution)
    grid = grid_image(native_pictures(trainer.average, GRID_SEEDS), columns=10, zoom=zoom)
    write_atomically(run / name, lambda path: grid.save(path, format="PNG"))
    save_checkpoint(run, trainer.images_seen, trainer.state())
