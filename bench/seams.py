"""Can patch borders be seen? The seam ratio (model/seams.py) of a model's pictures, from native size up.

python -m bench.seams models/personas
"""

from __future__ import annotations

import sys
from pathlib import Path

from model.checkpoint import load_generator
from model.generator import Generator
from model.plane import Window
from model.rendering import render
from model.sampling import sample_tokens
from model.seams import seam_ratio

SEEDS = range(32)
ZOOMS = (1, 2, 4, 8, 16, 32)


def ratios(generator: Generator, zooms: tuple[int, ...] = ZOOMS) -> dict[int, float]:
    """The ratio at each zoom over the native size."""
    found = {}
    for zoom in zooms:
        side = generator.config.resolution * zoom
        seeds = SEEDS if zoom <= 8 else SEEDS[:8]
        tokens = sample_tokens(generator, seeds, [1.0] * len(seeds))
        pictures = render(generator, tokens, side, side).permute(0, 3, 1, 2).float()  # [B, 3, H, W]
        found[zoom] = float(seam_ratio(pictures, Window.whole(side, side, generator.config)))
    return found


def run(folder: Path) -> None:
    """Prints a line a zoom."""
    generator = load_generator(folder)
    print(f"{folder.name}: steps across patch borders over those beside them")
    for zoom, ratio in ratios(generator).items():
        print(f"  {zoom:3d} x native: {ratio:.3f}")


if __name__ == "__main__":
    run(Path(sys.argv[1]))
