"""Pictures that stay near those of the model that a training starts from."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from model.anchor import Anchor
from model.config import Config
from model.data import Pictures
from model.generator import Generator
from model.start import Start
from model.trainer import Trainer
from model.views import View

CPU = torch.device("cpu")


def zooming(tiny: Config, **training: float) -> Config:
    """With overlap and crops, as a model that shows seams is trained on."""
    return replace(
        tiny,
        generator=replace(tiny.generator, overlap=0.25, zoom=4),
        training=replace(tiny.training, batch=8, oversample=8, **training),
    )


def test_an_anchor_needs_a_model(tiny: Config) -> None:
    with pytest.raises(ValueError, match=r"training\.anchor .* give one to start from"):
        Trainer(zooming(tiny, anchor=1.0), seed=0, device=CPU)


def test_pictures_are_held_to_what_a_resize_of_the_models_gives(generator: Generator) -> None:
    z, anchor = torch.randn(2, 8), Anchor(generator, oversample=8)
    native = generator(z)
    assert torch.allclose(anchor.seen(native, View(1, 0, 0)), native, atol=1e-5)
    whole = F.interpolate(native, scale_factor=4, mode="bicubic", align_corners=False)  # [2, 3, 64, 64]
    seen = anchor.seen(native, View(4, 40, 16))  # from fine pixel (40, 16) of 128, two of them a pixel
    assert torch.allclose(seen, whole[:, :, 8:24, 20:36], atol=1e-4)


def test_drift_is_the_mean_squared_distance_over_views(generator: Generator) -> None:
    z, fake = torch.randn(4, 8), torch.randn(4, 3, 16, 16)
    views, anchor = (View(1, 3, -2), View(4, 40, 17)), Anchor(generator, oversample=8)
    native = generator(z)
    total = 0.0
    for index in range(4):
        seen = anchor.seen(native[index : index + 1], views[index // 2])[0].double()
        total += float((fake[index].double() - seen).square().sum())
    assert float(anchor.drift(fake, z, views)) == pytest.approx(total / fake.numel(), rel=1e-5)
    assert float(anchor.drift(native, z, (View(1, 0, 0),) * 2)) < 1e-9  # the model itself


def test_anchored_pictures_stay_near(tiny: Config, generator: Generator) -> None:
    fine = torch.randint(0, 256, (8, 3, 128, 128), dtype=torch.uint8)
    pictures, drifts = Pictures(fine, resolution=16), {}
    z = torch.randn(8, 8)
    for weight in (0.0, 100.0):
        config = zooming(tiny, anchor=weight, learning_rate=3e-3)
        trainer = Trainer(config, seed=0, device=CPU, start=Start(generator))
        for _ in range(30):
            trainer.step(pictures)
        with torch.no_grad():
            drifts[weight] = float((trainer.generator(z) - generator(z)).square().mean())
    assert drifts[100.0] < drifts[0.0] / 4
