from __future__ import annotations

import json
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


@pytest.mark.parametrize("name", ["..", "../a", "a/../a", "/etc", "", "A", ".hidden", "a\0", "a\n"])
def test_a_name_never_leaves_the_library(tmp_path: Path, name: str) -> None:
    publish(tmp_path / "root" / "a")
    publish(tmp_path / "a")
    with pytest.raises(KeyError):
        ModelLibrary(tmp_path / "root").get(name)
