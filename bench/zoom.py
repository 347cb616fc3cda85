"""Do sizes agree? An image at twice the size, averaged two by two, beside the image itself.

    python -m bench.zoom models/personas [PICTURES.zip]

PSNR in dB over a set of seeds, at each side. With pictures, the same of real ones resized with Pillow's
bicubic filter: what an ordinary resize of the data would give.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from model.checkpoint import load_generator
from model.decoding import decode
from model.generator import Generator
from model.rendering import render
from model.sampling import sample_tokens
from model.source import Source

SEEDS = range(16)
SIDES = (32, 64, 128, 256, 512)


def psnr(a: Tensor, b: Tensor) -> float:
    """Of images in 0..255, over all of them."""
    error = float((a.float() - b.float()).square().mean())
    return 10 * math.log10(255**2 / error) if error else math.inf


def halved(images: Tensor) -> Tensor:
    """[B, 2h, 2w, 3] to the means of two by two, [B, h, w, 3]."""
    b, h, w, _ = images.shape
    return images.float().view(b, h // 2, 2, w // 2, 2, 3).mean((2, 4))


def agreement(generator: Generator, side: int) -> float:
    """PSNR between images of a side and the halved ones of twice the side."""
    tokens = sample_tokens(generator, SEEDS, [1.0] * len(SEEDS))
    once, twice = (render(generator, tokens, n, n) for n in (side, 2 * side))
    return psnr(once, halved(twice))


def of_reals(source: Path, side: int) -> float:
    """The same of real pictures, resized from their full size with a bicubic filter."""
    with Source(source) as files:
        pictures = [Image.fromarray(decode(files.read(name))) for name in files.names[: len(SEEDS)]]
    found = []
    for picture in pictures:
        once, twice = (
            torch.from_numpy(np.asarray(picture.resize((n, n), Image.Resampling.BICUBIC)).copy())[None]
            for n in (side, 2 * side)
        )
        found.append(float((once.float() - halved(twice)).square().mean()))
    return 10 * math.log10(255**2 / (sum(found) / len(found)))


def run(folder: Path, source: Path | None = None) -> None:
    """Prints a line a side."""
    generator = load_generator(folder)
    print(f"{folder.name}: PSNR between a side and twice the side averaged, dB")
    for side in SIDES:
        reals = ""
        if source and 2 * side <= 256:
            reals = f", real pictures {of_reals(source, side):.1f}"
        print(f"  {side:4d} px: {agreement(generator, side):.1f}{reals}")


if __name__ == "__main__":
    run(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None)
