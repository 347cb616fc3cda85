from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from model.evaluation.evaluate import unit
from model.evaluation.features import WEIGHTS, FeatureNet, feature_net, features


def test_the_shipped_file_is_small_credits_its_data_and_holds_the_network_alone() -> None:
    assert WEIGHTS.stat().st_size < 3_000_000
    assert load_file(WEIGHTS).keys() == FeatureNet().state_dict().keys()
    with safe_open(WEIGHTS, "pt") as file:
        description = file.metadata()
    assert "Krizhevsky 2009" in description["trained_on"]
    assert float(description["test_accuracy"]) >= 0.85
    assert int(description["parameters"]) == sum(p.numel() for p in feature_net().parameters())


def test_a_feature_is_what_the_classifier_decides_by(drawn: Callable[..., Tensor]) -> None:
    pictures, net = unit(drawn(5)), feature_net()
    found = features(pictures)
    assert found.shape == (5, 192)
    torch.testing.assert_close(net.classify(found), net(pictures))
    assert not net.training
    assert found.std(0).mean() > 0.05  # pictures are told apart


def test_batches_change_nothing(drawn: Callable[..., Tensor], monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = unit(drawn(7))
    whole = features(pictures)
    monkeypatch.setattr("model.evaluation.features.BATCH", 3)
    torch.testing.assert_close(features(pictures), whole, atol=1e-5, rtol=1e-4)


def test_other_sizes_are_resized_without_aliasing() -> None:
    columns = torch.tensor([1.0, -1.0, -1.0, 1.0]).repeat(32)  # four times too fine for 32 px: grey there
    stripes = columns.expand(1, 3, 128, 128)
    grey, dark = torch.zeros(1, 3, 32, 32), torch.full((1, 3, 32, 32), -1.0)
    far = (features(dark) - features(grey)).norm()
    assert (features(stripes) - features(grey)).norm() < 0.1 * far
    torch.testing.assert_close(features(torch.zeros(1, 3, 16, 16)), features(grey))
