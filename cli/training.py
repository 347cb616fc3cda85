"""Training in this process: ``vitgan train``, and the plan of it that ``--dry-run`` prints."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path

from cli.local import find_model
from cli.telling import Lines, say
from cli.values import clock
from model.checkpoint import checkpoints
from model.config import Config
from model.data import Pictures, load_pictures
from model.plan import plan
from model.progress import Progress
from model.run_folder import held
from model.start import Start
from model.training import train
from model.watch import TrainingError

NAMED = 3  # files that a line about what was left out names
FAILED = 1
INTERRUPTED = 130  # the shell's exit code for a command ended by Ctrl-C


@dataclass(frozen=True)
class DataOptions:
    """Which pictures, and how they become squares."""

    source: Path
    crop: str
    background: str
    cache: Path | None


@dataclass(frozen=True)
class RunOptions:
    """Where, how long and on what."""

    out: Path
    kimg: float
    seed: int | None  # 0 if none is given, and the checkpoint's when it goes on
    tick_kimg: float
    max_minutes: float | None
    resume: bool
    device: str
    compiler: str
    deterministic: bool
    tensorboard: bool
    as_json: bool
    start: str | None = None  # name or folder of the model to start from
    with_parent: bool = False  # stop when the process that started it is gone


def run_plan(config: Config, data: DataOptions, run: RunOptions) -> int:
    """``vitgan train --dry-run``: sizes, memory and speed from three steps; only the cache is written."""
    found = plan(config, _pictures(config, data), device=run.device, compiler=run.compiler, start=_start(run))
    if run.as_json:
        print(json.dumps({**asdict(found), "kimg_per_hour": found.kimg_per_hour}))
        return 0
    print(
        f"generator      {found.generator_parameters / 1e6:.2f} million parameters\n"
        f"discriminator  {found.discriminator_parameters / 1e6:.2f} million parameters\n"
        f"products       {found.flops_per_image / 1e9:.2f} GFLOP an image, both steps\n"
        f"memory         {found.memory_bytes / 2**30:.2f} GiB at most, batch {config.training.batch}\n"
        f"speed          {found.images_per_second:.1f} images/s, {found.kimg_per_hour:.0f} kimg/hour\n"
        f"{run.kimg:g} kimg       {clock(run.kimg / found.kimg_per_hour * 3600)} hours"
    )
    return 0


def run_training(config: Config, data: DataOptions, run: RunOptions) -> int:
    """``vitgan train``; gives the exit code: 1 if the training itself could not go on.

    Raises ``ValueError`` if an argument is wrong.
    """
    with held(run.out) if _first() else nullcontext():  # before pictures are decoded, which may take long
        return _train(config, data, run)


def _train(config: Config, data: DataOptions, run: RunOptions) -> int:
    if not run.resume and any(run.out.glob("checkpoint-*.pt")):
        raise ValueError(f"{run.out} holds a run already: add --resume to go on, or give another --out")
    pictures = _pictures(config, data)
    if not run.as_json and _first():
        say(f"{len(pictures)} pictures from {data.source}, {config.preset}, into {run.out}")

    stop = _Stop(run.with_parent)
    ends = time.monotonic() + run.max_minutes * 60 if run.max_minutes else float("inf")
    tell: list[Callable[[Progress], None]] = [_print_json if run.as_json else _line_printer()]
    if run.tensorboard and _first():
        from cli.tensorboard import tensorboard_writer

        tell.append(tensorboard_writer(run.out))

    def on_progress(progress: Progress) -> None:
        for listener in tell:
            listener(progress)

    try:
        finished = train(
            config,
            pictures,
            run.out,
            kimg=run.kimg,
            seed=run.seed,
            tick_kimg=run.tick_kimg,
            resume=run.resume,
            start=_start(run),
            device=run.device,
            compiler=run.compiler,
            deterministic=run.deterministic,
            on_progress=on_progress,
            on_note=_note,
            should_stop=lambda: stop.asked or time.monotonic() > ends,
        )
    except TrainingError as error:
        say(f"vitgan: {error}", error=True)
        return FAILED
    if not run.as_json and _first():
        say("done" if finished else "\nstopped, go on with --resume", end=f": {run.out / 'model'}\n")
    return INTERRUPTED if stop.asked and not finished else 0


def cache_folder(given: Path | None) -> Path:
    """Where decoded pictures are kept: as given, or VITGAN_CACHE_DIR, or the user's cache folder."""
    home = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "vitgan"
    return given or Path(os.environ.get("VITGAN_CACHE_DIR", home))


def _start(run: RunOptions) -> Start | None:
    """The model or the run to start from."""
    if not run.start:
        return None
    folder = Path(run.start)
    return Start.of(folder if checkpoints(folder) else find_model(run.start).folder)


def _pictures(config: Config, data: DataOptions) -> Pictures:
    if not data.source.exists():
        raise ValueError(f"{data.source} does not exist: give a folder or zip of pictures")
    pictures = load_pictures(
        data.source, config.generator.resolution, config.training.oversample,
        cache=cache_folder(data.cache), crop=data.crop, background=data.background, on_progress=_decoding(),
        on_note=_note,
    )  # fmt: skip
    for note in [*config.warnings(), *left_out_lines(pictures.skipped)]:
        _note(note)
    return pictures


def left_out_lines(skipped: Sequence[tuple[str, str]]) -> list[str]:
    """A line for each reason: how many files, and the first of them."""
    names: dict[str, list[str]] = {}
    for name, reason in skipped:
        names.setdefault(reason, []).append(name)
    return [
        f"left out {len(found)}: {reason} ({', '.join(found[:NAMED])}{', ...' if found[NAMED:] else ''})"
        for reason, found in names.items()
    ]


def _note(note: str) -> None:
    if _first():
        say(note, error=True)


def _first() -> bool:
    """Whether this process speaks for all that torchrun started."""
    return os.environ.get("RANK", "0") == "0"


def _decoding() -> Callable[[int, int], None]:
    """Progress of the decoding, on standard error."""
    lines = Lines(error=True)

    def show(done: int, total: int) -> None:
        if _first():
            lines.show(f"decoding {done}/{total}", last=done == total)

    return show


class _Stop:
    """Ctrl-C, SIGTERM, or the end of the terminal's session asks for a stop.

    A second Ctrl-C or SIGTERM ends the process as usual. A session's end may be told twice, by the shell and
    by the system, and is told to nobody who runs under ``nohup``. ``with_parent``: the end of the process
    that started this one asks for a stop too.
    """

    def __init__(self, with_parent: bool) -> None:
        self._asked, self._parent = False, os.getppid() if with_parent else None
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._ask)
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            signal.signal(signal.SIGHUP, self._ask)

    @property
    def asked(self) -> bool:
        """Whether somebody has."""
        return self._asked or self._parent not in (None, os.getppid())

    def _ask(self, number: int, frame: object) -> None:
        self._asked = True
        if number != signal.SIGHUP:
            signal.signal(number, signal.SIG_DFL)


def _print_json(progress: Progress) -> None:
    say(json.dumps(asdict(progress)))


def _line_printer() -> Callable[[Progress], None]:
    lines, warned = Lines(), ""

    def show(p: Progress) -> None:
        nonlocal warned
        line = (
            f"kimg {p.kimg:.1f}/{p.total_kimg:g}  {p.images_per_second:.1f} images/s  "
            f"{clock(p.eta_seconds)} left  G {p.loss_g:.3f}  D {p.loss_d:.3f}  spread {p.spread:.3f}"
            f"{f'  distance {p.distance:.1f}' if p.distance is not None else ''}"
            f"{f'  WARNING {p.warning}' if p.warning else ''}"
        )
        lines.show(line, now=p.warning != warned, last=p.kimg >= p.total_kimg)
        warned = p.warning

    return show
