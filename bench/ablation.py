"""What each choice of the recipe is worth: short runs of equal length, one thing changed at a time.

    python -m bench.ablation PICTURES.zip OUT --rows base,q-gain-1 --kimg 8

Each row leaves OUT/ROW.json (settings, log, measures), OUT/ROW.png (grid of averaged seeds) and
OUT/ROW.npy (samples, uint8); rows that are there are not run again, so a broken series goes on.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, cast

import numpy as np
import torch
import torch.nn.functional as F
import typer
from torch import Tensor, nn

from model.config import Config
from model.data import Pictures, load_pictures
from model.discriminator import Discriminator
from model.generator import Generator
from model.layers import ISNLinear, linear, merge_heads, split_heads
from model.presets import preset
from model.progress import spread
from model.sampling import grid_image, native_pictures, quantise
from model.trainer import Trainer

SAMPLES = 1000
LOG_STEPS = 25
Change = Callable[[Generator, Discriminator], None]


class DotProductAttention(nn.Module):
    """Plain attention in the discriminator, its layers still under ISN."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.out = (ISNLinear(width, width) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (split_heads(layer(x), self.heads) for layer in (self.query, self.key, self.value))
        return cast(Tensor, self.out(merge_heads(F.scaled_dot_product_attention(q, k, v))))


class ConcatenatedSiren(nn.Module):
    """A painter that takes [E_fou(v), y] as its input instead of having its weights modulated by y."""

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        config = generator.config
        self.fourier = generator.siren.fourier
        self.first = linear(config.fourier_dim, config.siren_width)
        self.token = linear(config.width, config.siren_width)
        self.second = linear(config.siren_width, config.siren_width)
        self.rgb = linear(config.siren_width, 3, gain=0.3)

    def forward(self, v: Tensor, y: Tensor, level: float) -> Tensor:
        x = torch.sin(F.linear(v, self.fourier))  # [C, P, F]
        x = torch.sin(self.first(x) + self.token(y)[..., None, :])  # [B, C, P, S]
        return cast(Tensor, self.rgb(torch.sin(self.second(x))))  # [B, C, P, 3]


def no_isn(generator: Generator, discriminator: Discriminator) -> None:
    for layer in discriminator.modules():
        if isinstance(layer, ISNLinear):
            layer.normalised_weight = lambda layer=layer: layer.weight  # type: ignore[method-assign,misc]


def dot_product(generator: Generator, discriminator: Discriminator) -> None:
    config = discriminator.config
    for block in discriminator.blocks:
        block.attention = DotProductAttention(config.width, config.heads)


def no_overlap(generator: Generator, discriminator: Discriminator) -> None:
    p = discriminator.config.patch
    discriminator.embed = ISNLinear(3 * p * p, discriminator.config.width)
    discriminator.patches = lambda images: F.unfold(images, p, stride=p).transpose(1, 2)  # type: ignore[method-assign]


def concatenation(generator: Generator, discriminator: Discriminator) -> None:
    generator.siren = ConcatenatedSiren(generator)  # type: ignore[assignment]


@dataclass(frozen=True)
class Row:
    """One run: what differs from the base."""

    settings: tuple[str, ...] = ()
    change: Change | None = None
    seed: int = 0


ROWS = {
    "base": Row(),
    "base-seed-1": Row(seed=1),
    "q-gain-1": Row(("discriminator.query_gain=1",)),
    "bcr-0": Row(("training.bcr_real=0", "training.bcr_fake=0")),
    "bcr-10": Row(("training.bcr_real=10", "training.bcr_fake=10")),
    "dot-product": Row(change=dot_product),
    "no-isn": Row(change=no_isn),
    "no-diffaugment": Row(("training.augment=", "training.bcr_real=0", "training.bcr_fake=0")),
    "lr-1e-3": Row(("training.learning_rate=1e-3",)),
    "lr-1e-4": Row(("training.learning_rate=1e-4",)),
    "concatenation": Row(change=concatenation),
    "no-overlap": Row(change=no_overlap),
    "no-demodulation": Row(("generator.demodulate=false",)),
    "base-seed-2": Row(seed=2),
    "bcr-1": Row(("training.bcr_real=1", "training.bcr_fake=1")),
    "equalized-2e-3": Row(("training.equalized=true", "training.learning_rate=2e-3")),
    "batch-32": Row(("training.batch=32",)),
    "batch-64": Row(("training.batch=64",)),
    "fourier-std-3": Row(("generator.fourier_std=3",)),
    "normalised-residual": Row(("generator.residual=normalised",)),
    "augment-p-0.8": Row(("training.augment_probability=0.8",)),
    "mapping-8-slow": Row(("generator.mapping_layers=8", "training.mapping_rate=0.01")),
    "warmup-2": Row(("training.warmup_kimg=2",)),
    "bcr-10-ramp": Row(("training.bcr_real=10", "training.bcr_fake=10", "training.bcr_ramp_kimg=8")),
    "d-heads-6": Row(("discriminator.heads=6",)),
    "no-shift": Row(("training.oversample=1",)),
    "side-by-side": Row(("generator.overlap=0",)),
    "overlap-half": Row(("generator.overlap=0.5",)),
    "positions-of-picture": Row(("generator.coordinates=picture",)),
    "slow-generator": Row(("training.generator_rate=0.25",)),
    "slow-generator-6e-4": Row(("training.generator_rate=0.25", "training.learning_rate=6e-4")),
}


class RowTrainer(Trainer):
    """A trainer whose networks are changed before they start."""

    def __init__(self, config: Config, seed: int, change: Change | None) -> None:
        self.change = change
        super().__init__(config, seed, torch.device("cpu"))

    def networks(self) -> tuple[Generator, Discriminator]:
        generator, discriminator = super().networks()
        assert isinstance(discriminator, Discriminator)  # of kind "vit" in every row
        if self.change:
            self.change(generator, discriminator)
        return generator, discriminator


def at_training_size(source: Pictures) -> Pictures:
    """The same pictures without finer pixels, in memory."""
    fine = source.take(range(len(source))).float()  # [N, 3, s r, s r]
    return Pictures(F.avg_pool2d(fine, source.oversample).round_().byte(), source.resolution)


def run(row: Row, source: Pictures, kimg: float, batch: int, out: Path, name: str) -> None:
    """Trains one row and writes what came of it."""
    config = preset("vitgan-ti-32", batch).with_setting(*row.settings)
    pictures = source if config.training.oversample > 1 else at_training_size(source)
    trainer = RowTrainer(config, row.seed, row.change)
    log, started = [], time.monotonic()
    while trainer.images_seen < kimg * 1000:
        measured = trainer.step(pictures)
        if trainer.images_seen // config.training.batch % LOG_STEPS == 0:
            log.append([trainer.images_seen, *(round(float(value), 4) for value in measured[:5])])
    seconds = time.monotonic() - started
    samples = {
        "": native_pictures(trainer.average, range(SAMPLES)),
        ".raw": native_pictures(trainer.generator, range(SAMPLES)),
    }
    for kind, shown in samples.items():
        np.save(out / f"{name}{kind}.npy", quantise(shown.clone()).numpy())
        grid_image(shown[:100], columns=10, zoom=2).save(out / f"{name}{kind}.png")
    result = {
        "row": name, "settings": row.settings, "seed": row.seed, "kimg": kimg, "batch": config.training.batch,
        "images_per_second": round(trainer.images_seen / seconds, 1),
        "spread": round(spread(trainer.average), 4),
        "columns": ["images", "loss_d", "loss_g", "consistency", "logit_real", "logit_fake"], "log": log,
    }  # fmt: skip
    (out / f"{name}.json").write_text(json.dumps(result))
    typer.echo(f"{name}: {seconds:.0f} s, spread {result['spread']}, last {log[-1]}")


def main(
    data: Path,
    out: Path,
    rows: Annotated[str, typer.Option(help="Names, in this order; all if not given.")] = ",".join(ROWS),
    kimg: float = 8,
    batch: int = 16,
    threads: int = 1,
) -> None:
    """Runs rows of the table that are not there yet."""
    torch.set_num_threads(threads)
    out.mkdir(parents=True, exist_ok=True)
    config = preset("vitgan-ti-32")
    pictures = load_pictures(
        data, config.generator.resolution, config.training.oversample, cache=out / "pictures"
    )
    for name in rows.split(","):
        if not (out / f"{name}.json").exists():
            run(ROWS[name], pictures, kimg, batch, out, name)


if __name__ == "__main__":
    typer.run(main)
