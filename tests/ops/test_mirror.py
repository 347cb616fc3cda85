"""The mirror in a bucket: what it may do, what it copies, and in which order."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from contract.settings import SharedSettings
from scripts.settings import ROOT
from tests.ops.test_compose import SERVICES, STACK

MIRROR: dict[str, Any] = SERVICES["mirror"]
RESTORE: dict[str, Any] = SERVICES["restore"]
SCRIPTS = ROOT / "docker" / "mirror"
DATA = SharedSettings(data_dir=Path("/"))
MODELS, DATASETS, RUNS = DATA.trained_models_dir, DATA.datasets_dir, DATA.runs_dir

PARTS = [
    MODELS / "cats/model.safetensors",
    DATASETS / "d/pictures.zip",
    DATASETS / "d/upload",
    RUNS / "job/000002/checkpoint-000000004000.pt",
]
SEALS = [MODELS / "cats/config.json", DATASETS / "d/info.json"]  # with these a model or a dataset is there
NAMES = [DATA.promoted_file, Path("/keys.json")]
LEFT = [
    MODELS / "cats/.model.safetensors.7.tmp",
    MODELS / ".half/config.json",
    DATASETS / ".incoming-1f/pictures.zip",
    DATASETS / ".incoming-1f/info.json",
    RUNS / "job/000002/.checkpoint-000000004000.pt.7.tmp",
    RUNS / "job/000002/stderr.log",
    RUNS / "job/000002/model/model.safetensors",
    DATA.results_dir / "job.png",
    DATA.results_dir / "job.1.part",
    Path("/cache/0f/index.json"),
    Path("/logs/api.log"),
    Path("/.promoted-x"),
]


def chosen(path: Path) -> bool:
    """Whether parts.txt has it copied: the first rule that fits counts, ``*`` stays in its folder."""
    for line in (SCRIPTS / "parts.txt").read_text().splitlines():
        if line.startswith("#"):
            continue
        sign, pattern = line.split(" ")
        form = re.sub(r"\\\*(\\\*)?", lambda m: ".*" if m[1] else "[^/]*", re.escape(pattern))
        if re.search(("^" if pattern.startswith("/") else "/") + form + "$", str(path)):
            return sign == "+"
    raise AssertionError("the last rule fits all")


def test_the_mirror_is_there_for_those_who_ask_and_reads_alone() -> None:
    assert MIRROR["profiles"] == ["s3"]
    assert RESTORE["profiles"] == ["restore"]  # not with the mirror: it writes
    assert all(volume.endswith(":ro") for volume in MIRROR["volumes"])
    assert "data:/data:ro" in MIRROR["volumes"]
    assert "data:/data" in RESTORE["volumes"]
    assert MIRROR["healthcheck"]
    assert MIRROR["user"] == RESTORE["user"] == "10001:10001"
    assert "useradd --uid 10001" in (ROOT / "docker" / "Dockerfile").read_text()


def test_the_stores_keys_are_a_file_that_these_two_alone_have() -> None:
    assert {name for name, service in SERVICES.items() if "secrets" in service} == {"mirror", "restore"}
    assert set(STACK["secrets"]["s3_credentials"]) == {"file"}
    assert "s3_credentials" in (ROOT / ".gitignore").read_text().splitlines()
    assert not [name for name in MIRROR["environment"] if re.search("KEY", name)]


@pytest.mark.parametrize("path", PARTS, ids=str)
def test_what_must_outlive_a_machine_is_copied(path: Path) -> None:
    assert chosen(path)


@pytest.mark.parametrize("path", [*SEALS, *NAMES, *LEFT], ids=str)
def test_what_is_unfinished_or_comes_later_or_can_be_made_again_is_left(path: Path) -> None:
    assert not chosen(path)


def fill(data: Path) -> None:
    """All those files, each with its name in it."""
    for path in (*PARTS, *SEALS, *NAMES, *LEFT):
        file = data / path.relative_to("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(path.name)


def copy(source: Path, target: Path, *options: str) -> list[str]:
    """What was copied, in order; raises if it failed."""
    command = [SCRIPTS / "copy.sh", source, target, *options]
    env = os.environ | {"RCLONE_CONFIG": "/dev/null", "RCLONE_LOG_LEVEL": "INFO"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    return [f"/{name}" for name in re.findall(r"INFO\s+: (\S+): Copied", done.stderr)]


@pytest.mark.skipif(shutil.which("rclone") is None, reason="install the package rclone")
def test_rclone_copies_whole_models_never_writes_over_and_brings_all_back(tmp_path: Path) -> None:
    data, bucket, new = tmp_path / "data", tmp_path / "bucket", tmp_path / "new"
    fill(data)
    copied = copy(data, bucket, "--ignore-existing")
    for group in (PARTS, SEALS, NAMES):
        now, copied = copied[: len(group)], copied[len(group) :]
        assert sorted(now) == sorted(map(str, group))
    assert not copied

    weights = data / "models/cats/model.safetensors"
    weights.write_text("others")
    copy(data, bucket, "--ignore-existing")
    with pytest.raises(subprocess.CalledProcessError) as failed:
        copy(data, bucket, "--immutable")
    assert "cats/model.safetensors" in failed.value.stderr

    shutil.rmtree(data)
    data.mkdir()
    copy(data, bucket, "--ignore-existing")  # deletes nothing
    copy(bucket, new)
    kept = {f"/{file.relative_to(new)}": file.read_text() for file in new.rglob("*") if file.is_file()}
    assert kept == {str(path): path.name for path in (*PARTS, *SEALS, *NAMES)}
