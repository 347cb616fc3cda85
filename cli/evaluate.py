"""``vitgan evaluate``: how close a model's pictures are to the ones it was trained on."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from torch import Tensor

from cli.local import find_model
from cli.training import cache_folder
from model.checkpoint import load_generator
from model.data import Pictures, load_pictures
from model.devices import Devices
from model.evaluation.evaluate import Report, evaluate, split, unit
from model.evaluation.neighbours import neighbours_image
from model.sampling import native_pictures

NEIGHBOUR_SEEDS = range(12)  # the samples shown beside their nearest training pictures
BATCH = 250  # training pictures read at once


def run_evaluation(
    model: str,
    data: Path,
    *,
    count: int,
    seed: int,
    out: Path,
    device: str,
    fid: bool,
    cache: Path | None,
    crop: str = "centre",
    background: str = "white",
) -> int:
    """Prints a table and writes ``evaluation.json`` and ``neighbours.png`` into ``out``; gives the exit code.

    ``crop`` and ``background`` are those of the training. Raises ``ValueError`` if an argument is wrong.
    """
    published = find_model(model)
    generator = load_generator(published.folder).to(Devices(device).local)
    pictures = load_pictures(
        data, generator.config.resolution, cache=cache_folder(cache), crop=crop, background=background
    )
    reals = pictures.take(split(len(pictures), count, seed))
    report = evaluate(generator, reals, count, seed, fid=fid)
    for note in report.notes:
        print(note, file=sys.stderr)
    print(_table(report))

    out.mkdir(parents=True, exist_ok=True)
    description = {"model": published.name, "digest": published.digest, "data": data.name}
    text = json.dumps({**description, "pictures": len(pictures), **asdict(report)}, indent=2)
    (out / "evaluation.json").write_text(text + "\n")
    samples = native_pictures(generator, NEIGHBOUR_SEEDS)
    neighbours_image(samples, _batches(pictures)).save(out / "neighbours.png")
    print(f"{out / 'evaluation.json'}, {out / 'neighbours.png'}")
    return 0


def _batches(pictures: Pictures) -> Iterator[Tensor]:
    for first in range(0, len(pictures), BATCH):
        yield unit(pictures.take(range(first, min(first + BATCH, len(pictures)))))


def _table(report: Report) -> str:
    """A line for each measure, a column for each set of pictures."""
    names = list(report.rows)
    lines = [f"{report.count} pictures a set, {report.resolution} px", _line("", names)]
    for measure in report.rows[names[0]]:
        lines.append(_line(measure, [f"{report.rows[name][measure]:.4g}" for name in names]))
    lines.append(
        "fcd: Frechet distance in the features of a small CIFAR-10 classifier; not comparable with FID"
    )
    return "\n".join(lines)


def _line(first: str, cells: list[str]) -> str:
    return f"{first:10}" + "".join(f"{cell:>12}" for cell in cells)
