"""Megapixels a second of the renderer, and the share of the machine's limit that it reaches."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator

import numpy as np

from bench.machine import Limits
from contract.messages import COLOUR_PNG, Side
from contract.models import ModelLibrary, PublishedModel
from contract.settings import SharedSettings
from model.rendering import strip_rows
from worker.ahead import ahead
from worker.encoders import encoder_for
from worker.engine import Engine

SIDES = (64, 256, 1024, 4096, 16_384)
LONGEST = 20.0  # seconds of one image: of larger ones the strips in their middle are timed


def seconds_a_pixel(model: PublishedModel, limits: Limits) -> float:
    """What a pixel's products and sines cost at the machine's limit, one after the other.

    Patches overlap: a pixel is painted by (1 + 2 overlap)^2 of them, at the edge by fewer.
    """
    g = model.config["generator"]
    f, s = g["fourier_dim"], g["siren_width"]
    edge = 2 * g.get("overlap", 0) * (g["grid"] - 1) / g["grid"]
    products = 2 * (2 * f + f * s + s * s + 3 * s)
    return float((1 + edge) ** 2 * (products / limits.matmul + (f + 2 * s) / limits.sine))


def run(limits: Limits) -> None:
    """Prints a line a size: one image, drawn by all cores, with and without PNG."""
    library = ModelLibrary(SharedSettings().shipped_models_dir)
    model = library.get("personas")
    engine = Engine(library, limits.cores)
    limit = 1e-6 / seconds_a_pixel(model, limits)
    print(f"limit of products and sines: {limit:.2f} megapixels/s on {limits.cores} cores")
    grown = 0
    for side in SIDES:
        before = peak()
        rounds = 3 if side <= 4096 else 1
        paint, png = (
            max(draw(engine, model, side, encode) for _ in range(rounds)) for encode in (False, True)
        )
        print(
            f"{side:5d} px: {paint / 1e6:.2f} megapixels/s ({paint / 1e6 / limit:.0%} of the limit), "
            f"with PNG {png / 1e6:.2f}; PNG alone is {png_share(engine, model, side):.1%} of the painting",
            flush=True,
        )
        grown = peak() - before
    print(f"memory: the largest image raised this process's peak by {grown / 2**20:.0f} MiB")


def peak() -> int:
    """The most memory that this process has had, bytes (Linux)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def draw(engine: Engine, model: PublishedModel, side: int, encode: bool) -> float:
    """Pixels a second of one image."""
    whole = Side.whole(side)
    encoder = encoder_for(model.digest, 1, 1.0, whole, whole, COLOUR_PNG)
    started, pixels = time.perf_counter(), 0
    for strip in ahead(middle(engine, model, side)):
        pixels += strip.shape[1] * side
        if encode:
            encoder.strip(strip[0])
        if time.perf_counter() - started > LONGEST:
            break
    return pixels / (time.perf_counter() - started)


def middle(engine: Engine, model: PublishedModel, side: int) -> Iterator[np.ndarray]:
    """An image's strips; of one that takes long those from a quarter on, which most patches reach."""
    whole = Side.whole(side)
    first = side // strip_rows(side) // 4 if side > 4096 else 0
    return engine.draw(model.name, model.digest, [1], [1.0], whole, whole, first)


def png_share(engine: Engine, model: PublishedModel, side: int) -> float:
    """Time of encoding the first strips over that of painting them, one after the other."""
    whole = Side.whole(side)
    encoder = encoder_for(model.digest, 1, 1.0, whole, whole, COLOUR_PNG)
    painted = middle(engine, model, side)
    spent = [0.0, 0.0]
    for _ in range(40):
        times = [time.perf_counter()]
        strip = next(painted, None)
        if strip is None:
            break
        times.append(time.perf_counter())
        encoder.strip(strip[0])
        times.append(time.perf_counter())
        spent = [
            total + later - earlier for total, earlier, later in zip(spent, times, times[1:], strict=False)
        ]
    return spent[1] / spent[0]
