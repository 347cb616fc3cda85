"""Fixtures for the model's tests: a network small enough to check by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from model.config import Config, DiscriminatorConfig, GeneratorConfig, TrainingConfig
from model.data import Pictures
from model.generator import Generator
from model.presets import preset

torch.set_num_threads(1)

TINY = Config(
    preset="tiny",
    generator=GeneratorConfig(
        resolution=16,
        grid=4,
        z_dim=8,
        mapping_layers=2,
        width=16,
        blocks=2,
        heads=2,
        mlp_ratio=2,
        siren_width=8,
        fourier_dim=6,
    ),
    discriminator=DiscriminatorConfig(resolution=16, patch=4, width=16, blocks=1, heads=2, mlp_ratio=2),
    training=TrainingConfig(batch=4, oversample=2),
)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture
def tiny() -> Config:
    return TINY


@pytest.fixture
def stylegan2() -> Config:
    """The same generator against convolutions: groups of two, R1 in every third step."""
    return replace(
        TINY,
        discriminator=DiscriminatorConfig(
            kind="stylegan2", resolution=16, channel_base=64, channel_max=8, minibatch_group=2
        ),
        training=replace(TINY.training, batch=8, bcr_real=0.0, bcr_fake=0.0, r1=0.1, r1_every=3),
    )


@pytest.fixture
def generator() -> Generator:
    return Generator(TINY.generator).eval().requires_grad_(False)


@pytest.fixture
def blended() -> Generator:
    """As ``generator``, its patches overlapping, and told of the level as if it had learned to be."""
    return _blended("patch")


@pytest.fixture
def placed() -> Generator:
    """As ``blended``, its painters' positions counted from the middle of the picture."""
    return _blended("picture")


def _blended(coordinates: str) -> Generator:
    config = replace(TINY.generator, overlap=0.25, zoom=4, coordinates=coordinates)
    generator = Generator(config).eval().requires_grad_(False)
    for layer in (*generator.siren.hidden, generator.siren.rgb):
        layer.level.normal_(std=0.3)
    return generator


@pytest.fixture(scope="session")
def served() -> Generator:
    """Random weights in the shape that is served by default."""
    torch.manual_seed(0)
    generator = Generator(preset("vitgan-ti-32").generator).eval().requires_grad_(False)
    generator.measure_w_mean()
    return generator


@pytest.fixture
def noise() -> Pictures:
    """Eight pictures of noise at the tiny size, kept twice as fine."""
    return Pictures(torch.randint(0, 256, (8, 3, 32, 32), dtype=torch.uint8), resolution=16)


@pytest.fixture
def paint(tmp_path: Path) -> Callable[..., Path]:
    """Writes a one-colour picture below ``tmp_path`` and gives its path."""

    def write(name: str, colour: object = "red", mode: str = "RGB", size: tuple[int, int] = (8, 8)) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new(mode, size, colour).save(path)  # type: ignore[arg-type]
        return path

    return write
