"""The table and the picture of a series of short runs.

    python -m bench.ablation_table PICTURES.zip OUT --picture docs/ablation.png

Measures the samples that bench.ablation left against the pictures, prints a Markdown table, and lays the
first seeds of every row under each other.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from PIL import Image, ImageDraw
from torch import Tensor

from bench.ablation import SAMPLES
from model.data import load_pictures
from model.evaluation.features import features
from model.evaluation.frechet import frechet_distance
from model.evaluation.precision_recall import precision_recall
from model.evaluation.swd import swd
from model.presets import preset
from model.sampling import grid_image

SHOWN = 16  # seeds of a row in the picture
LABEL = 190  # pixels


def unit(pictures: Tensor) -> Tensor:
    return pictures.float() / 127.5 - 1


def measures(samples: Tensor, reals: Tensor, real_features: Tensor) -> dict[str, float]:
    bands, vectors = swd(samples, reals), features(samples)
    precision, recall = precision_recall(real_features, vectors)
    return {
        "swd": sum(bands.values()) / len(bands),
        "fcd": frechet_distance(real_features, vectors),
        "precision": precision,
        "recall": recall,
        "spread": float(samples.add(1).div(2).std(0).mean()),
    }


def strip(samples: Tensor, name: str) -> Image.Image:
    """The first seeds in a row, twice as large, with a label before them."""
    row = grid_image(samples[:SHOWN], columns=SHOWN, zoom=2)
    image = Image.new("RGB", (LABEL + row.width, row.height), "white")
    image.paste(row, (LABEL, 0))
    ImageDraw.Draw(image).text((4, row.height // 2 - 8), name, fill="black", font_size=15)
    return image


def main(data: Path, out: Path, picture: Annotated[Path, typer.Option()], threads: int = 1) -> None:
    """Prints the table of all rows in OUT, in the order in which they were run, and writes the picture."""
    torch.set_num_threads(threads)
    resolution = preset("vitgan-ti-32").generator.resolution
    pictures = load_pictures(data, resolution, cache=out / "pictures")
    order = torch.randperm(len(pictures), generator=torch.Generator().manual_seed(0))[: 2 * SAMPLES]
    reals, other = unit(pictures.take(order)).chunk(2)
    real_features = features(reals)
    results = sorted(out.glob("*.json"), key=lambda path: path.stat().st_mtime)
    sets = {path.stem: (json.loads(path.read_text()), out / f"{path.stem}.npy") for path in results}
    strips = []
    print("| row | D loss | spread | SWD | FCD | precision | recall |\n|---|---|---|---|---|---|---|")
    rows: list[tuple[str, str, Tensor]] = [("other real pictures", "", other)]
    for name, (result, drawn) in sets.items():
        last = [entry[1] for entry in result["log"][-len(result["log"]) // 5 :]]
        rows.append((name, f"{np.mean(last):.2f}", unit(torch.from_numpy(np.load(drawn)))))
    if "base" in sets:
        raw = unit(torch.from_numpy(np.load(out / "base.raw.npy")))
        rows.append(("base, weights not averaged", "", raw))
    for name, loss, samples in rows:
        found = measures(samples, reals, real_features)
        print(
            f"| {name} | {loss} | {found['spread']:.3f} | {found['swd']:.1f} | {found['fcd']:.2f} "
            f"| {found['precision']:.2f} | {found['recall']:.2f} |",
            flush=True,
        )
        if loss:
            strips.append(strip(samples, name))
    sheet = Image.new("RGB", (strips[0].width, sum(part.height + 2 for part in strips)), "white")
    for index, part in enumerate(strips):
        sheet.paste(part, (0, index * (part.height + 2)))
    sheet.save(picture, optimize=True)


if __name__ == "__main__":
    typer.run(main)
