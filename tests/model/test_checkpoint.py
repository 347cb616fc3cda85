from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from model.checkpoint import (
    load_checkpoint,
    load_generator,
    save_checkpoint,
    save_model,
    write_atomically,
)
from model.generator import Generator


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    def fail(temporary: Path) -> None:
        temporary.write_text("half of the new")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, fail)
    assert names(tmp_path) == ["file"]
    assert path.read_text() == "old"


def test_a_write_replaces_the_file_for_all_to_read(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    write_atomically(path, lambda temporary: temporary.write_text("new"))
    assert names(tmp_path) == ["file"]
    assert path.read_text() == "new"
    assert path.stat().st_mode & 0o777 == 0o644


def test_the_last_two_checkpoints_are_kept(tmp_path: Path) -> None:
    for seen in (900, 1000, 20_000):  # by number, not by name
        save_checkpoint(tmp_path, seen, {"images_seen": seen})
    assert names(tmp_path) == ["checkpoint-000000001000.pt", "checkpoint-000000020000.pt"]
    assert load_checkpoint(tmp_path) == {"images_seen": 20_000}


@pytest.mark.parametrize("share", [0, 0.1, 0.5, 0.99])
def test_a_truncated_checkpoint_falls_back_to_the_one_before(tmp_path: Path, share: float) -> None:
    save_checkpoint(tmp_path, 1, {"images_seen": 1})
    newest = save_checkpoint(tmp_path, 2, {"images_seen": 2, "weights": torch.randn(1000)})
    whole = newest.read_bytes()
    newest.write_bytes(whole[: int(len(whole) * share)])
    assert load_checkpoint(tmp_path) == {"images_seen": 1}


def test_one_byte_of_damage_falls_back_to_the_one_before(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, 1, {"images_seen": 1})
    newest = save_checkpoint(tmp_path, 2, {"images_seen": 2, "weights": torch.full((300,), 2.0)})
    whole = newest.read_bytes()
    at = whole.index(torch.full((300,), 2.0).numpy().tobytes())
    newest.write_bytes(whole[: at + 40] + b"\x01" + whole[at + 41 :])  # in the middle of the weights
    assert load_checkpoint(tmp_path) == {"images_seen": 1}


def test_without_a_readable_checkpoint_there_is_none(tmp_path: Path) -> None:
    assert load_checkpoint(tmp_path) is None
    for content in (b"", b"\x80", b"\x80\x02", b"}a", b"no checkpoint at all"):
        (tmp_path / "checkpoint-000000000001.pt").write_bytes(content)
        assert load_checkpoint(tmp_path) is None


def test_a_published_generator_draws_the_same_to_the_bit(tmp_path: Path, generator: Generator) -> None:
    generator.measure_w_mean()
    save_model(tmp_path / "model", generator, {"preset": "tiny"})
    loaded, z = load_generator(tmp_path / "model"), torch.randn(2, 8)
    assert torch.equal(loaded(z), generator(z))
    assert loaded.config == generator.config
    for name, value in generator.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value)
    assert not any(parameter.requires_grad for parameter in loaded.parameters())


def test_a_model_folder_is_two_files_that_describe_it(tmp_path: Path, generator: Generator) -> None:
    save_model(tmp_path, generator, {"preset": "tiny", "kimg": 1.5})
    assert names(tmp_path) == ["config.json", "model.safetensors"]
    config = json.loads((tmp_path / "config.json").read_text())
    assert (config["model_type"], config["preset"], config["kimg"]) == ("vitgan", "tiny", 1.5)
    assert config["generator"] == vars(generator.config)


def without(key: str, folder: Path) -> None:
    path = folder / "config.json"
    config = json.loads(path.read_text())
    del config[key]
    path.write_text(json.dumps(config))


def reshaped(folder: Path, field: str, value: object) -> None:
    path = folder / "config.json"
    config = json.loads(path.read_text())
    config["generator"][field] = value
    path.write_text(json.dumps(config))


BREAKAGES = {
    "no config": lambda folder: (folder / "config.json").unlink(),
    "no weights": lambda folder: (folder / "model.safetensors").unlink(),
    "config is no JSON": lambda folder: (folder / "config.json").write_text("{"),
    "config is a list": lambda folder: (folder / "config.json").write_text("[]"),
    "config without the shape": lambda folder: without("generator", folder),
    "unknown field": lambda folder: reshaped(folder, "colour", 3),
    "bad value": lambda folder: reshaped(folder, "heads", 5),
    "other shape": lambda folder: reshaped(folder, "width", 32),
    "a width that no memory holds": lambda folder: reshaped(folder, "width", 16_384),
    "a depth without end": lambda folder: reshaped(folder, "blocks", 10**9),
    "a resolution without end": lambda folder: reshaped(folder, "resolution", 10**9),
    "a number that no float holds": lambda folder: reshaped(folder, "fourier_std", 10**400),
    "config too deep": lambda folder: (folder / "config.json").write_text("[" * 100_000),
    "config in no UTF-8": lambda folder: (folder / "config.json").write_bytes(b"\xff"),
    "weights of another kind": lambda folder: save_file(
        {name: value.half() for name, value in load_file(folder / "model.safetensors").items()},
        folder / "model.safetensors",
    ),
    "other depth": lambda folder: reshaped(folder, "blocks", 1),
    "weights are text": lambda folder: (folder / "model.safetensors").write_text("hello"),
    "weights cut": lambda folder: (folder / "model.safetensors").write_bytes(
        (folder / "model.safetensors").read_bytes()[:5000]
    ),
}


@pytest.mark.parametrize("breakage", BREAKAGES)
def test_a_broken_model_folder_is_refused(tmp_path: Path, generator: Generator, breakage: str) -> None:
    save_model(tmp_path, generator, {})
    load_generator(tmp_path)
    BREAKAGES[breakage](tmp_path)
    with pytest.raises(ValueError, match=rf"{re.escape(str(tmp_path))} is no readable model: ."):
        load_generator(tmp_path)


def test_an_absent_model_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no readable model"):
        load_generator(tmp_path / "absent")
