"""A small dataset for trying things out: coloured circles, squares and triangles on white."""

from __future__ import annotations

import io
import random
import zipfile
from pathlib import Path

from PIL import Image, ImageDraw

SIDE = 64
FINE = 4  # drawn larger and shrunk, for smooth edges


def draw_shape(rng: random.Random) -> Image.Image:
    """One picture, 64 x 64 RGB."""
    side = SIDE * FINE
    picture = Image.new("RGB", (side, side), "white")
    colour = tuple(rng.randrange(0, 220) for _ in range(3))
    radius = rng.uniform(0.2, 0.42) * side
    x, y = (rng.uniform(radius, side - radius) for _ in range(2))
    box = (x - radius, y - radius, x + radius, y + radius)
    draw = ImageDraw.Draw(picture)
    match rng.randrange(3):
        case 0:
            draw.ellipse(box, fill=colour)
        case 1:
            draw.rectangle(box, fill=colour)
        case _:
            draw.polygon([(x, box[1]), (box[2], box[3]), (box[0], box[3])], fill=colour)
    return picture.resize((SIDE, SIDE), Image.Resampling.BOX)


def write_shapes(out: Path, count: int, seed: int = 0) -> None:
    """A zip of ``count`` pictures, the same ones for the same seed."""
    rng = random.Random(seed)
    with zipfile.ZipFile(out, "w") as archive:
        for index in range(count):
            buffer = io.BytesIO()
            draw_shape(rng).save(buffer, format="PNG")
            archive.writestr(f"shape{index:05d}.png", buffer.getvalue())
