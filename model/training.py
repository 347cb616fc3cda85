"""The training loop. It knows no queue: progress goes to a callback, and a callback may stop it."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import torch

from model.checkpoint import (
    load_checkpoint,
    save_checkpoint,
    save_model,
    set_aside,
    write_atomically,
)
from model.config import Config
from model.data import Pictures
from model.devices import Devices
from model.evaluation.swd import QUICK_PICTURES, quick_distance
from model.progress import Progress, Reporter, trim_log
from model.sampling import grid_image, native_pictures
from model.start import Start
from model.trainer import Trainer
from model.watch import diverged, explained

GRID_SEEDS = range(100)  # the seeds of every grid, ten by ten


def train(
    config: Config,
    pictures: Pictures,
    run: Path,
    *,
    kimg: float,
    seed: int | None = None,
    tick_kimg: float = 4.0,
    resume: bool = False,
    start: Start | None = None,
    device: str = "cpu",
    compiler: str = "off",
    deterministic: bool = False,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    on_note: Callable[[str], None] = lambda note: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> bool:
    """Trains for ``kimg`` thousand pictures into the folder ``run``; True if it came to its end.

    Every tick writes a grid of fixed seeds and a checkpoint; the end (or a stop) writes both too, and
    ``run/model``, the averaged generator as a published model. With ``resume`` it goes on from the
    newest whole checkpoint, if there is one; else it begins with ``seed`` (0 if none is given) and the
    weights of ``start``. ``on_note`` is given sentences about where it begins. Started by ``torchrun`` it
    shares each batch with its peers.

    Raises ``ValueError`` if an argument is wrong, or if there are checkpoints of which none is whole or fits;
    ``TrainingError`` if the training cannot go on (not a number, memory or disk full). The last checkpoint
    stays whole.
    """
    devices = Devices(device)
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # what cuBLAS wants for it
        torch.use_deterministic_algorithms(True)  # a GPU adds in any order otherwise
    try:
        with explained():
            trainer = Trainer(
                config, seed or 0, devices.local, devices=devices, compiler=compiler, start=start
            )
            total = round(kimg * 1000)
            notes = _go_on(trainer, run, total, seed, start) if resume else []
            for note in notes if devices.first else ():
                on_note(note)
            return _loop(trainer, pictures, run, total, tick_kimg, on_progress, should_stop)
    finally:
        devices.close()


def _go_on(trainer: Trainer, run: Path, total: int, seed: int | None, start: Start | None) -> list[str]:
    """Loads the newest whole checkpoint of the run, if it has one; gives what to say about it."""
    found = load_checkpoint(run)
    if found is None:
        return [f"no checkpoint in {run}: starting at 0"]
    trainer.load(found.state)
    trainer.devices.wait()  # nobody renames what another process still looks for
    kimg, notes = trainer.images_seen / 1000, []
    for path, reason in found.damaged if trainer.devices.first else ():
        notes.append(
            f"{path.name} is damaged ({reason}): kept as {set_aside(path).name}, an older one is used"
        )
    notes.append(f"resumed at {kimg:g} kimg from {found.path.name}")
    if seed is not None and seed != trainer.seed:
        notes.append(f"--seed {seed} is not used: this run goes on with its seed {trainer.seed}")
    if start is not None and not trainer.config.training.anchor:
        notes.append("--start is not used: this run goes on with its own weights")
    if trainer.images_seen >= total:
        notes.append(f"--kimg {total / 1000:g} is reached already: nothing is trained, give more to go on")
    return notes


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
        trim_log(run / "log.jsonl", trainer.images_seen / 1000)
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
    grid = grid_image(reals, columns=10, zoom=max(1, 64 // pictures.resolution))
    write_atomically(run / "reals.png", lambda path: grid.save(path, format="PNG"))


def _snapshot(trainer: Trainer, run: Path) -> None:
    if not trainer.finite():
        raise diverged(trainer.images_seen / 1000)
    name = f"fakes{trainer.images_seen:09d}.png"
    zoom = max(1, 64 // trainer.config.generator.resolution)
    grid = grid_image(native_pictures(trainer.average, GRID_SEEDS), columns=10, zoom=zoom)
    write_atomically(run / name, lambda path: grid.save(path, format="PNG"))
    save_checkpoint(run, trainer.images_seen, trainer.state())
