from __future__ import annotations

import json
import re
import resource
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from model.checkpoint import (
    load_checkpoint,
    load_generator,
    save_checkpoint,
    save_model,
    set_aside,
    write_atomically,
)
from model.generator import Generator
from model.watch import TrainingError, explained


def loaded(run: Path) -> dict[str, Any]:
    found = load_checkpoint(run)
    assert found is not None
    return found.state


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
    assert loaded(tmp_path) == {"images_seen": 20_000}


@pytest.mark.parametrize("share", [0, 0.1, 0.5, 0.99])
def test_a_truncated_checkpoint_falls_back_to_the_one_before(tmp_path: Path, share: float) -> None:
    save_checkpoint(tmp_path, 1, {"images_seen": 1})
    newest = save_checkpoint(tmp_path, 2, {"images_seen": 2, "weights": torch.randn(1000)})
    whole = newest.read_bytes()
    newest.write_bytes(whole[: int(len(whole) * share)])
    assert loaded(tmp_path) == {"images_seen": 1}


def test_one_byte_of_damage_falls_back_to_the_one_before(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, 1, {"images_seen": 1})
    newest = save_checkpoint(tmp_path, 2, {"images_seen": 2, "weights": torch.full((300,), 2.0)})
    whole = newest.read_bytes()
    at = whole.index(torch.full((300,), 2.0).numpy().tobytes())
    newest.write_bytes(whole[: at + 40] + b"\x01" + whole[at + 41 :])  # in the middle of the weights
    assert loaded(tmp_path) == {"images_seen": 1}


def test_a_run_whose_checkpoints_are_all_damaged_is_refused_by_name_and_reason(tmp_path: Path) -> None:
    """It must not begin anew: what is there may still be mended, or fetched from a backup."""
    assert load_checkpoint(tmp_path) is None
    for content in (b"", b"\x80", b"\x80\x02", b"}a", b"no checkpoint at all"):
        (tmp_path / "checkpoint-000000000001.pt").write_bytes(content)
        with pytest.raises(ValueError, match=r"checkpoint-000000000001.pt: File is not a zip file"):
            load_checkpoint(tmp_path)
    torch.save([1, 2], tmp_path / "checkpoint-000000000002.pt")
    with pytest.raises(ValueError, match=r"0002.pt: it is not a checkpoint of a training; .*0001.pt: File"):
        load_checkpoint(tmp_path)


def test_what_was_passed_over_is_named(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, 1, {"images_seen": 1})
    newest = save_checkpoint(tmp_path, 2, {"images_seen": 2})
    newest.write_bytes(newest.read_bytes()[:100])
    found = load_checkpoint(tmp_path)
    assert found is not None
    assert found.path.name == "checkpoint-000000000001.pt"
    ((path, reason),) = found.damaged
    assert (path, reason) == (newest, "File is not a zip file")
    assert set_aside(path).name == "damaged-checkpoint-000000000002.pt"


def test_lack_of_memory_and_a_file_that_cannot_be_opened_are_no_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An older checkpoint would be taken, and the good one forgotten."""
    for seen in (1, 2):
        save_checkpoint(tmp_path, seen, {"images_seen": seen})

    def no_memory(*args: object, **named: object) -> None:
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")

    with monkeypatch.context() as patch:
        patch.setattr(torch, "load", no_memory)
        with pytest.raises(RuntimeError, match="can't allocate"):
            load_checkpoint(tmp_path)
    (tmp_path / "checkpoint-000000000003.pt").mkdir()
    with pytest.raises(ValueError, match=r"0003.pt cannot be opened .*move it away"):
        load_checkpoint(tmp_path)


def test_the_checkpoint_just_written_stays(tmp_path: Path) -> None:
    """Whatever the numbers of the others are."""
    for seen in (5, 7):
        save_checkpoint(tmp_path, seen, {"images_seen": seen})
    written = save_checkpoint(tmp_path, 1, {"images_seen": 1})
    assert names(tmp_path) == [written.name, "checkpoint-000000000007.pt"]


def test_a_full_disk_is_told_as_one(tmp_path: Path, generator: Generator) -> None:
    """A real limit of the system: PyTorch and safetensors have other words for it, or none."""
    save_checkpoint(tmp_path, 1, {"images_seen": 1})
    state = {"images_seen": 2, "weights": torch.zeros(100_000)}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with (
            pytest.raises(TrainingError, match=r"the disk is full .*the last checkpoint is whole"),
            explained(),
        ):
            save_checkpoint(tmp_path, 2, state)
        with pytest.raises(TrainingError, match="the disk is full"), explained():
            save_model(tmp_path / "model", generator, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert loaded(tmp_path) == {"images_seen": 1}
    assert names(tmp_path / "model") == []


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
