"""A tiny published model, and an engine on it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from redis import Redis

from contract.models import ModelLibrary, PublishedModel
from contract.redis_client import command_client
from model.checkpoint import save_model
from model.config import GeneratorConfig
from model.generator import Generator
from worker.engine import Engine

TINY = GeneratorConfig(
    resolution=16,
    grid=4,
    z_dim=8,
    mapping_layers=1,
    width=16,
    blocks=1,
    heads=2,
    siren_width=8,
    fourier_dim=8,
)


def publish_tiny(folder: Path, seed: int = 0) -> None:
    """A generator of random weights as a model folder."""
    torch.manual_seed(seed)
    generator = Generator(TINY)
    generator.measure_w_mean(64)
    save_model(folder, generator, {"preset": "tiny", "kimg": 0, "created_at": "now"})


@pytest.fixture
def library(tmp_path: Path) -> ModelLibrary:
    """A library with one model, ``tiny``."""
    publish_tiny(tmp_path / "models" / "tiny")
    return ModelLibrary(tmp_path / "models")


@pytest.fixture
def tiny(library: ModelLibrary) -> PublishedModel:
    return library.get("tiny")


@pytest.fixture
def engine(library: ModelLibrary) -> Engine:
    return Engine(library, threads=2)


@pytest.fixture
def raw(valkey_url: str, redis: Redis) -> Iterator[Redis]:
    """A client that gives bytes, as the worker's does."""
    with command_client(valkey_url, decode=False) as client:
        yield client
