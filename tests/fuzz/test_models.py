"""Model folders and checkpoints with a few bytes or fields changed: read, or refused with a sentence."""

from __future__ import annotations

import json
import resource
import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from contract.models import ModelLibrary
from model.checkpoint import load_checkpoint, load_generator, save_checkpoint, save_model
from model.generator import Generator
from tests.fuzz.conftest import PassedOver, tried
from tests.fuzz.mutation import mutated
from tests.model.conftest import TINY

pytestmark = [pytest.mark.fuzz, pytest.mark.filterwarnings("ignore:Generating overly large repr")]
FUZZ = settings.get_profile("fuzz")
TOLD = {"preset": "tiny", "kimg": 1.5, "created_at": "2026-01-01T00:00:00Z"}


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A model's files."""
    path = tmp_path_factory.mktemp("models") / "tiny"
    save_model(path, Generator(TINY.generator), TOLD)
    return {file.name: file.read_bytes() for file in path.iterdir()}


def bent(tmp_path: Path, published: dict[str, bytes], name: str, data: bytes) -> Path:
    """The model with one file changed, in a folder that is new."""
    folder = Path(tempfile.mkdtemp(dir=tmp_path)) / "tiny"
    folder.mkdir()
    for file, whole in (published | {name: data}).items():
        (folder / file).write_bytes(whole)
    return folder


def used(folder: Path) -> None:
    """As a worker and the API use it."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        with tried("model folder: generator", ValueError):
            generator = load_generator(folder)
            assert {value.dtype for value in generator.state_dict().values()} == {torch.float32}
    finally:
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # KB
    with tried("model folder: library", PassedOver):
        models = ModelLibrary(folder.parent).list()
        if not models:
            raise PassedOver("a warning stands in the log")
        json.dumps([model.describe() for model in models], allow_nan=False)


NUMBERS = st.sampled_from((0, -1, 1, 7, 10**9, 2**63, 10**30, 0.5, 1e308, float("inf"), float("nan")))
VALUES = NUMBERS | st.booleans() | st.text(max_size=3) | st.sampled_from((None, [], {}, "picture"))
FIELDS = st.sampled_from([*vars(TINY.generator), "colour"])
GENERATORS = st.dictionaries(FIELDS, VALUES, min_size=1, max_size=2)
PARTS = st.sampled_from([*TOLD, "version", "generator", "more"])
WHOLES = st.dictionaries(PARTS, VALUES, min_size=1, max_size=2)


@settings(FUZZ, max_examples=500)
@given(change=GENERATORS.map(lambda change: {"generator": vars(TINY.generator) | change}) | WHOLES)
def test_configs_that_say_something_else(
    tmp_path: Path, published: dict[str, bytes], change: dict[str, Any]
) -> None:
    config = json.loads(published["config.json"]) | change
    used(bent(tmp_path, published, "config.json", json.dumps(config).encode()))


@settings(FUZZ, max_examples=250)
@given(data=st.data())
def test_damaged_configs(tmp_path: Path, published: dict[str, bytes], data: st.DataObject) -> None:
    used(bent(tmp_path, published, "config.json", data.draw(mutated(published["config.json"]) | st.binary())))


@settings(FUZZ, max_examples=500)
@given(data=st.data())
def test_damaged_weights(tmp_path: Path, published: dict[str, bytes], data: st.DataObject) -> None:
    whole = published["model.safetensors"]
    head = 8 + int.from_bytes(whole[:8], "little")
    bend = mutated(whole[:head]).map(lambda first: first + whole[head:]) | mutated(whole)
    used(bent(tmp_path, published, "model.safetensors", data.draw(bend | st.binary())))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with two checkpoints."""
    path = tmp_path_factory.mktemp("run")
    for seen in (1, 2):
        save_checkpoint(path, seen, {"images_seen": seen, "weights": torch.full((300,), float(seen))})
    return path


@pytest.fixture(scope="module")
def newest(run: Path) -> bytes:
    return max(run.iterdir()).read_bytes()


@settings(FUZZ, max_examples=1000)
@given(data=st.data())
def test_damaged_checkpoints(run: Path, newest: bytes, data: st.DataObject) -> None:
    cut = st.integers(0, len(newest) - 1).map(lambda length: newest[:length])
    max(run.iterdir()).write_bytes(data.draw(mutated(newest) | cut | st.binary()))
    found = load_checkpoint(run)
    assert found is not None
    state = found.state
    with tried("checkpoint", PassedOver):
        if state["images_seen"] == 1:
            raise PassedOver("the one before it is taken")
        assert state["images_seen"] == 2
        assert torch.equal(state["weights"], torch.full((300,), 2.0))
