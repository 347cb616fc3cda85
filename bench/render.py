"""Megapixels a second of the renderer, and the share of the machine's limit that it reaches."""

from __future__ import annotations

import time

from bench.machine import Limits
from contract.messages import COLOUR_PNG, Side
from contract.models import ModelLibrary, PublishedModel
from contract.settings import SharedSettings
from worker.encoders import encoder_for
from worker.engine import Engine
from worker.images import ahead


def seconds_a_pixel(model: PublishedModel, limits: Limits) -> float:
    """What a pixel's products and sines cost at the machine's limit, one after the other."""
    g = model.config["generator"]
    f, s = g["fourier_dim"], g["siren_width"]
    products = 2 * (2 * f + f * s + s * s + 3 * s)
    return float(products / limits.matmul + (f + 2 * s) / limits.sine)


def run(limits: Limits) -> None:
    """Prints a line a size: one image, drawn by all cores, with and without PNG."""
    library = ModelLibrary(SharedSettings().shipped_models_dir)
    model = library.get("emoji-32")
    engine = Engine(library, limits.cores)
    limit = 1e-6 / seconds_a_pixel(model, limits)
    print(f"limit of products and sines: {limit:.2f} megapixels/s on {limits.cores} cores")
    for side in (64, 256, 1024, 4096):
        paint, png = (min(draw(engine, model, side, encode) for _ in range(3)) for encode in (False, True))
        pixels = side * side / 1e6
        print(
            f"{side:5d} px: {pixels / paint:.2f} megapixels/s ({pixels / paint / limit:.0%} of the limit), "
            f"with PNG {pixels / png:.2f}"
        )


def draw(engine: Engine, model: PublishedModel, side: int, encode: bool) -> float:
    """Seconds of one image."""
    started = time.perf_counter()
    whole = Side.whole(side)
    encoder = encoder_for(model.digest, 1, 1.0, whole, whole, COLOUR_PNG)
    for strip in ahead(engine.draw(model.name, model.digest, [1], [1.0], whole, whole)):
        if encode:
            encoder.strip(strip[0])
    return time.perf_counter() - started
