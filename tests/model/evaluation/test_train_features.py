from __future__ import annotations

import sys
import zipfile
from collections.abc import Callable
from functools import partial
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from model.evaluation import train_features
from model.evaluation.features import FeatureNet


@pytest.fixture
def classes(tmp_path: Path) -> Callable[..., Path]:
    """Writes a zip of noisy red and blue pictures, in folders of those names."""

    def write(name: str, count: int = 64, side: int = 32) -> Path:
        random = np.random.default_rng(count)
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            for n in range(count):
                picture = random.integers(0, 128, (side, side, 3), dtype=np.uint8)
                folder, channel = (("red", 0), ("blue", 2))[n % 2]
                picture[..., channel] += 100
                file = BytesIO()
                Image.fromarray(picture).save(file, "PNG")
                archive.writestr(f"{folder}/{n:04d}.png", file.getvalue())
        return tmp_path / name

    return write


def test_classes_are_numbered_by_name_and_pixels_are_kept(classes: Callable[..., Path]) -> None:
    pictures, labels = train_features.read_classes(classes("a.zip", 6))
    assert pictures.shape == (6, 32, 32, 3)
    assert labels.tolist() == [0, 0, 0, 1, 1, 1]  # blue comes before red
    means = pictures.float().mean((1, 2))
    assert ((means[:, 2] > means[:, 0]) == (labels == 0)).all()


def test_pictures_of_another_size_are_refused(classes: Callable[..., Path]) -> None:
    with pytest.raises(ValueError, match=r"blue/0001.png is not 32 x 32 pixels"):
        train_features.read_classes(classes("b.zip", 2, side=16))


def test_a_moved_picture_is_a_mirrored_and_shifted_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train_features, "SHIFT", 2)
    pictures = torch.randint(0, 256, (1, 32, 32, 3), dtype=torch.uint8).expand(200, -1, -1, -1)
    wide = np.pad(pictures[0].numpy(), ((2, 2), (2, 2), (0, 0)), mode="reflect")
    allowed = {}
    for dy in range(5):
        for dx in range(5):
            part = wide[dy : dy + 32, dx : dx + 32]
            allowed[part.tobytes()] = (dy, dx, False)
            allowed[part[:, ::-1].tobytes()] = (dy, dx, True)
    seen = {
        allowed[one.numpy().tobytes()]
        for one in train_features.moved(pictures, torch.Generator().manual_seed(0))
    }
    assert len(seen) > 40  # of 50


def test_a_training_learns_to_tell_classes_and_writes_what_it_measured(
    classes: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The rate falls with the batch, by the linear scaling rule of Goyal et al. 2017 (arXiv 1706.02677). At
    # the full rate batches of 16 diverge, and then a CPU's rounding decides where the training ends. A narrow
    # network is enough for two colours, and is quick where a CPU has no instructions for bf16.
    monkeypatch.setattr(
        train_features, "LEARNING_RATE", train_features.LEARNING_RATE * 16 / train_features.BATCH
    )
    monkeypatch.setattr(train_features, "BATCH", 16)
    monkeypatch.setattr(train_features, "FeatureNet", partial(FeatureNet, width=8))
    train_zip, test_zip, outs = classes("train.zip"), classes("test.zip", 40), []
    for name in ("one.safetensors", "two.safetensors"):
        monkeypatch.setattr(
            sys, "argv", ["train_features", *map(str, (train_zip, test_zip, tmp_path / name))]
        )
        train_features.main()
        outs.append(load_file(tmp_path / name))
    net = FeatureNet(width=8, classes=2)
    net.load_state_dict(outs[0])
    share = train_features.accuracy(net.eval(), *train_features.read_classes(test_zip))
    # Over 20 seeds and each of ATEN_CPU_CAPABILITY=default, avx2 and AVX-512 with AMX the share was 1.0.
    assert share > 0.9
    with safe_open(tmp_path / "one.safetensors", "pt") as file:
        assert float(file.metadata()["test_accuracy"]) == share
    assert all(torch.equal(value, outs[1][name]) for name, value in outs[0].items())


def test_accuracy_counts_right_answers() -> None:
    class Guess(FeatureNet):
        def forward(self, x: Tensor) -> Tensor:
            return torch.nn.functional.one_hot((x.mean((1, 2, 3)) > 0).long(), 10).float()

    pictures = torch.zeros(4, 32, 32, 3, dtype=torch.uint8)
    pictures[2:] = 255
    assert train_features.accuracy(Guess(), pictures, torch.tensor([0, 1, 1, 1])) == 0.75
