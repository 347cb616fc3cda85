"""Training and drawing in this process, without the service."""

from __future__ import annotations

import json
import signal
import sys
import time
from dataclasses import asdict
from pathlib import Path

from cli.values import clock
from contract.models import ModelLibrary, PublishedModel
from contract.settings import SharedSettings
from model.config import preset
from model.data import load_pictures
from model.progress import Progress
from model.training import train
from worker.engine import Engine, core_count, use_threads
from worker.png import image_encoder

INTERRUPTED = 130  # the shell's exit code for a command ended by Ctrl-C


def run_training(
    data: Path,
    preset_name: str,
    kimg: float,
    out: Path,
    *,
    seed: int,
    batch: int | None,
    tick_kimg: float,
    max_minutes: float | None,
    resume: bool,
    device: str,
    as_json: bool,
) -> int:
    """``vitgan train``; gives the exit code. Raises ``ValueError`` if an argument is wrong."""
    config = preset(preset_name, batch)
    if not data.exists():
        raise ValueError(f"{data} does not exist: give a folder or zip of pictures")
    if not resume and any(out.glob("checkpoint-*.pt")):
        raise ValueError(f"{out} holds a run already: add --resume to go on, or give another --out")
    pictures = load_pictures(data, config.generator.resolution, config.training.oversample)
    for name, reason in pictures.skipped:
        print(f"skipped {name}: {reason}", file=sys.stderr)
    if not as_json:
        print(f"{len(pictures.images)} pictures from {data}, {preset_name}, into {out}")

    stop = _StopOnSignal()
    ends = time.monotonic() + max_minutes * 60 if max_minutes else float("inf")
    finished = train(
        config,
        pictures,
        out,
        kimg=kimg,
        seed=seed,
        tick_kimg=tick_kimg,
        resume=resume,
        device=device,
        on_progress=_print_json if as_json else _print_line,
        should_stop=lambda: stop.asked or time.monotonic() > ends,
    )
    if not as_json:
        print(f"\n{'done' if finished else 'stopped, go on with --resume'}: {out / 'model'}")
    return INTERRUPTED if stop.asked and not finished else 0


class _StopOnSignal:
    """Ctrl-C or SIGTERM asks for a stop; a second one ends the process as usual."""

    def __init__(self) -> None:
        self.asked = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._ask)

    def _ask(self, number: int, frame: object) -> None:
        self.asked = True
        signal.signal(number, signal.SIG_DFL)


def _print_json(progress: Progress) -> None:
    print(json.dumps(asdict(progress)), flush=True)


def _print_line(p: Progress) -> None:
    line = (
        f"kimg {p.kimg:.1f}/{p.total_kimg:g}  {p.images_per_second:.1f} images/s  "
        f"{clock(p.eta_seconds)} left  G {p.loss_g:.3f}  D {p.loss_d:.3f}  spread {p.spread:.3f}"
    )
    print(f"\r{line}\033[K" if sys.stdout.isatty() else line, end="", flush=True)
    if not sys.stdout.isatty():
        print()


def run_generation(
    model: str, seeds: list[int], width: int, height: int, truncation: float, out: Path
) -> None:
    """``vitgan generate``: the same bytes as the service sends, into ``seed0042.png`` files."""
    published = find_model(model)
    use_threads(1)
    engine = Engine(ModelLibrary(published.folder.parent), core_count(0))
    out.mkdir(parents=True, exist_ok=True)
    for seed in seeds:
        path = out / f"seed{seed:04d}.png"
        encoder = image_encoder(published.digest, seed, width, height, truncation)
        strips = engine.draw(published.name, published.digest, [seed], [truncation], width, height)
        with path.open("wb") as file:
            for strip in strips:
                file.write(encoder.strip(strip[0]))
            file.write(encoder.end())
        print(path)


def find_model(model: str) -> PublishedModel:
    """A model's folder, or the name of a shipped or trained one; raises ``ValueError``."""
    folder = Path(model).resolve()
    settings = SharedSettings()
    try:
        if folder.is_dir():
            return ModelLibrary(folder.parent).get(folder.name)
        return ModelLibrary(settings.shipped_models_dir, settings.trained_models_dir).get(model)
    except KeyError:
        raise ValueError(f"{model!r} is no model: give its folder, or a name of GET /models") from None
