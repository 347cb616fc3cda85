"""The command line, run as people run it."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from contract.messages import Side
from contract.models import ModelLibrary
from tests.conftest import write_pictures
from tests.worker.conftest import publish_tiny
from worker.engine import Engine


def vitgan(*args: object, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "cli", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)


def told(done: subprocess.CompletedProcess[str], *words: str) -> None:
    """Checks for exit code 2 and one sentence with those words."""
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr


def test_generate_writes_the_engines_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VITGAN_ARITHMETIC", "native")  # as the engine of this process
    publish_tiny(tmp_path / "tiny")
    out = tmp_path / "out"
    done = vitgan(
        "generate", "--seeds", "0-1,20", "--resolution", "40x30", "--model", tmp_path / "tiny", "--out", out
    )
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in out.iterdir()) == ["seed0000.png", "seed0001.png", "seed0020.png"]
    library = ModelLibrary(tmp_path)
    digest = library.get("tiny").digest
    strips = list(Engine(library).draw("tiny", digest, [20], [1.0], Side.whole(40), Side.whole(30)))
    with Image.open(out / "seed0020.png") as image:
        assert np.array_equal(np.asarray(image), np.concatenate(strips, axis=1)[0])


def test_a_wrong_argument_is_one_sentence(tmp_path: Path) -> None:
    out = ("--out", tmp_path / "out")
    told(vitgan("generate", "--seeds", "3-1", *out), "3-1")
    told(vitgan("generate", "--seeds", "1", "--resolution", "0", *out), "resolution")
    told(vitgan("generate", "--seeds", "1", "--model", "nobody", *out), "nobody")
    told(vitgan("train", tmp_path / "absent", *out), "absent")
    write_pictures(tmp_path / "p.zip")
    told(vitgan("train", tmp_path / "p.zip", "--preset", "vitgan-xxl", *out), "vitgan-ti-32")
    assert not (tmp_path / "out").exists()


def test_shapes_makes_a_dataset(tmp_path: Path) -> None:
    assert vitgan("dataset", "shapes", tmp_path / "s.zip", "--count", 5).returncode == 0
    with zipfile.ZipFile(tmp_path / "s.zip") as archive:
        pictures = [Image.open(io.BytesIO(archive.read(name))) for name in archive.namelist()]
    assert [picture.size for picture in pictures] == [(64, 64)] * 5


def test_ctrl_c_saves_and_resume_goes_on(tmp_path: Path) -> None:
    write_pictures(tmp_path / "p.zip")
    run = tmp_path / "run"
    train = ["train", tmp_path / "p.zip", "--out", run, "--batch", 16, "--threads", 1, "--json"]
    command = [sys.executable, "-m", "cli", *map(str, [*train, "--kimg", 1000])]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        first = json.loads(process.stdout.readline())
        assert set(first) == {
            "kimg", "total_kimg", "images_per_second", "eta_seconds", "loss_g", "loss_d", "consistency",
            "logit_real", "logit_fake", "augment_probability", "signs", "right", "spread", "learning_rate",
            "data_wait", "memory_bytes", "distance", "warning",
        }  # fmt: skip
        time.sleep(1)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 130
    (checkpoint,) = run.glob("checkpoint-*.pt")
    seen = int(checkpoint.stem.split("-")[1])
    assert (run / "model" / "model.safetensors").exists()
    assert (run / f"fakes{seen:09d}.png").exists()

    told(vitgan(*train, "--kimg", 1), "--resume")
    goal = (seen + 64) / 1000
    done = vitgan(*train, "--resume", "--kimg", goal)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert f"resumed at {seen / 1000:g} kimg from {checkpoint.name}" in done.stderr
    assert lines[0]["kimg"] == pytest.approx((seen + 16) / 1000)
    assert lines[-1]["kimg"] >= goal


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("--seeds 1 --out walk.png", "two seeds or more"),
        ("--seeds 0-9 --frames 5 --out walk.png", "10 seeds in 5 frames"),
        ("--seeds 1,2 --out walk.gif", ".png or .webp"),
        ("--seeds 1,2 --resolution 0 --out walk.png", "resolution"),
    ],
)
def test_a_wrong_walk_is_one_sentence(arguments: str, words: str) -> None:
    told(vitgan("interpolate", *arguments.split()), words)
