"""Can patch borders be seen? Gradients across them beside those next to them, from native size up.

    python -m bench.seams models/emoji-32

The mean step |I(x) - I(x - 1)| between the two pixels at a border of two patches, over the mean of the steps
one pixel to either side, over both axes, all borders and a set of seeds: 1 when borders are like any place.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import Tensor

from model.checkpoint import load_generator
from model.generator import Generator
from model.rendering import render
from model.sampling import sample_tokens

SEEDS = range(32)
ZOOMS = (1, 2, 4, 8, 16, 32)


def seam_ratio(images: Tensor, grid: int) -> float:
    """Steps across borders over those beside them, of images [B, side, side, 3] uint8."""
    across = beside = 0.0
    for axis in (1, 2):
        steps = images.float().diff(dim=axis).abs().mean(dim=(0, 3 - axis, 3))  # [side - 1]
        side = len(steps) + 1
        borders = torch.arange(1, grid) * side // grid - 1  # the step from the pixel before to the one after
        across += float(steps[borders].mean())
        beside += float((steps[borders - 1] + steps[borders + 1]).mean()) / 2
    return across / beside


def ratios(generator: Generator, zooms: tuple[int, ...] = ZOOMS) -> dict[int, float]:
    """The ratio at each zoom over the native size."""
    found = {}
    for zoom in zooms:
        side = generator.config.resolution * zoom
        seeds = SEEDS if zoom <= 8 else SEEDS[:8]
        tokens = sample_tokens(generator, seeds, [1.0] * len(seeds))
        found[zoom] = seam_ratio(render(generator, tokens, side, side), generator.config.grid)
    return found


def run(folder: Path) -> None:
    """Prints a line a zoom."""
    generator = load_generator(folder)
    print(f"{folder.name}: steps across patch borders over those beside them")
    for zoom, ratio in ratios(generator).items():
        print(f"  {zoom:3d} x native: {ratio:.3f}")


if __name__ == "__main__":
    run(Path(sys.argv[1]))
