from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from contract.models import ModelLibrary


def publish(folder: Path, weights: bytes = b"weights") -> None:
    folder.mkdir(parents=True)
    config = {"preset": "p", "kimg": 1, "created_at": "now", "generator": {"resolution": 32}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "model.safetensors").write_bytes(weights)


def test_a_model_is_listed_with_its_digest(tmp_path: Path) -> None:
    publish(tmp_path / "b")
    publish(tmp_path / "a")
    (tmp_path / "half-made").mkdir()
    library = ModelLibrary(tmp_path, tmp_path / "absent")
    assert [model.name for model in library.list()] == ["a", "b"]
    described = library.get("a").describe()
    assert (described["name"], described["resolution"], len(described["digest"])) == ("a", 32, 64)


def test_the_digest_follows_weights_and_config(tmp_path: Path) -> None:
    publish(tmp_path / "a")
    publish(tmp_path / "b")
    library = ModelLibrary(tmp_path)
    same, before = library.get("b").digest, library.get("a").digest
    assert same == before
    (tmp_path / "a" / "model.safetensors").write_bytes(b"others!")
    assert library.get("a").digest != before
    config = (tmp_path / "b" / "config.json").read_text()
    (tmp_path / "b" / "config.json").write_text(config.replace("32", "64"))
    assert library.get("b").digest != same


@pytest.mark.parametrize(
    ("config", "word"),
    [
        (b"", "config.json"),
        (b"{", "config.json"),
        (b"[]", "config.json"),
        (b"\xff\xfe", "config.json"),
        (b"[" * 100_000, "config.json"),  # deeper than Python's reader of JSON goes
        (b'{"preset": "p", "kimg": 1, "generator": {"resolution": 32}}', "created_at"),
        (b'{"preset": "p", "kimg": NaN, "created_at": "now", "generator": {"resolution": 32}}', "kimg"),
        (b'{"preset": "p", "kimg": 1, "created_at": "now", "generator": {}}', "generator.resolution"),
        (b'{"preset": "p", "kimg": 1, "created_at": "now", "generator": 3}', "generator"),
    ],
)
def test_what_describes_no_model_is_passed_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, config: bytes, word: str
) -> None:
    for name in ("good", "bad"):
        publish(tmp_path / "first" / name)
    publish(tmp_path / "second" / "bad", b"of the second folder")
    (tmp_path / "first" / "bad" / "config.json").write_bytes(config)
    library = ModelLibrary(tmp_path / "first", tmp_path / "second")
    assert [(model.name, model.folder.parent.name) for model in library.list()] == [
        ("bad", "second"),
        ("good", "first"),
    ]
    assert word in caplog.text
    with pytest.raises(KeyError):
        ModelLibrary(tmp_path / "first").get("bad")


@pytest.mark.timeout(20)
@pytest.mark.parametrize("file", ["config.json", "model.safetensors"])
def test_one_bad_model_is_one_skipped_model(tmp_path: Path, file: str) -> None:
    """Pipes that nobody writes to, folders, devices, files without end; what is wrong is said."""
    for name in ("good", "pipe", "folder", "loop", "device", "endless"):
        publish(tmp_path / name)
        if name != "good":
            (tmp_path / name / file).unlink()
    os.mkfifo(tmp_path / "pipe" / file)
    (tmp_path / "folder" / file).mkdir()
    (tmp_path / "loop" / file).symlink_to(tmp_path / "loop" / file)
    (tmp_path / "device" / file).symlink_to("/dev/zero")
    with (tmp_path / "endless" / file).open("wb") as endless:
        endless.truncate(2**40)
    models, skipped = ModelLibrary(tmp_path).scan()
    assert [model.name for model in models] == ["good"]
    assert {one.name for one in skipped} == {"pipe", "folder", "loop", "device", "endless"}
    assert all(one.reason.startswith(f"{file}: ") for one in skipped), skipped
    assert str(tmp_path) not in repr(skipped)


def test_a_folder_of_models_that_cannot_be_listed_is_told(tmp_path: Path) -> None:
    publish(tmp_path / "models" / "good")
    (tmp_path / "file").write_bytes(b"")
    models, (skipped,) = ModelLibrary(tmp_path / "file", tmp_path / "models").scan()
    assert [model.name for model in models] == ["good"]
    assert (skipped.name, skipped.reason) == ("file", "Not a directory")


def test_half_a_model_is_not_listed(tmp_path: Path) -> None:
    publish(tmp_path / "a")
    publish(tmp_path / "b")
    (tmp_path / "a" / "model.safetensors").unlink()
    assert [model.name for model in ModelLibrary(tmp_path).list()] == ["b"]


@pytest.mark.parametrize("name", ["..", "../a", "a/../a", "/etc", "", "A", ".hidden", "a\0", "a\n"])
def test_a_name_never_leaves_the_library(tmp_path: Path, name: str) -> None:
    publish(tmp_path / "root" / "a")
    publish(tmp_path / "a")
    with pytest.raises(KeyError):
        ModelLibrary(tmp_path / "root").get(name)
