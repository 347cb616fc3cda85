"""R1 in the step: on the real pictures that D sees, in every n-th step, times n."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from model.augment import augment
from model.batch import Draws
from model.config import Config
from model.data import Pictures
from model.trainer import Trainer

CPU = torch.device("cpu")


def gradient(trainer: Trainer) -> Tensor:
    """Of all of D, as the last step left it."""
    return torch.cat([p.grad.flatten() for p in trainer.discriminator.parameters() if p.grad is not None])


def with_r1(config: Config, gamma: float, every: int = 3) -> Config:
    training = replace(config.training, r1=gamma, r1_every=every, learning_rate=1e-12)
    return replace(config, training=training)


def test_r1_is_the_mean_squared_slope_on_real_pictures(
    stylegan2: Config, noise: Pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Along its own gradient the sum of the logits rises by |gradient|^2: two small steps, in float64.

    Colour alone changes the pictures: zeros would lie on the leaky ReLUs' kinks, where biases are 0.
    """
    config = with_r1(stylegan2, 0.1).with_setting("training.augment=colour")
    trainer = Trainer(config, seed=0, device=CPU)
    network = Trainer(config, seed=0, device=CPU).discriminator.double()
    draws: list[Tensor] = []
    draw = trainer._draw

    def spy(pictures: Pictures) -> Draws:
        found = draw(pictures)
        draws.extend((found.real[0], found.u[0, 0]))
        return found

    monkeypatch.setattr(trainer, "_draw", spy)
    measured = float(trainer.step(noise).r1)

    real, u = draws
    seen = augment(real, u, trainer.config.training.policy).double().requires_grad_()
    (slope,) = torch.autograd.grad(network(seen).sum(), seen)
    length = slope.square().sum((1, 2, 3)).sqrt()  # [B]
    along = slope / length.mean()
    with torch.no_grad():
        rise = network(seen + 1e-6 * along).sum() - network(seen - 1e-6 * along).sum()
    assert float(rise / 2e-6 * length.mean()) / len(real) == pytest.approx(measured, rel=1e-3)
    assert measured > 1e-4


def test_r1_is_taken_lazily_and_times_its_interval(stylegan2: Config, noise: Pictures) -> None:
    none, every, third = (
        Trainer(with_r1(stylegan2, gamma, interval), seed=0, device=CPU)
        for gamma, interval in ((0.0, 1), (0.3, 1), (0.1, 3))
    )
    taken = []
    for index in range(7):
        taken.append([])
        for trainer in (none, every, third):
            torch.manual_seed(index)
            taken[-1].append(float(trainer.step(noise).r1) > 0)
        by_every, by_third = gradient(every) - gradient(none), gradient(third) - gradient(none)
        if taken[-1][2]:  # 3 x 0.1 in one step of three is 0.3 in each
            torch.testing.assert_close(by_third, by_every, rtol=1e-3, atol=1e-5)
            assert by_third.norm() > 1e-3
        else:
            assert by_third.norm() == 0
    assert taken == [[False, True, index % 3 == 0] for index in range(7)]


def test_r1_flattens_the_discriminator(stylegan2: Config, noise: Pictures) -> None:
    slopes = []
    for gamma in (0.0, 1000.0):
        training = replace(stylegan2.training, r1=gamma, r1_every=1, learning_rate=2e-3, generator_rate=0.0)
        trainer = Trainer(replace(stylegan2, training=training), seed=0, device=CPU)
        for _ in range(80):
            trainer.step(noise)
        trainer.config = with_r1(stylegan2, 1e-9, 1)  # to measure it in both
        slopes.append(float(trainer.step(noise).r1))
    assert slopes[1] < slopes[0] / 4


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_r1_reaches_through_a_vit_too(tiny: Config, noise: Pictures, precision: str) -> None:
    """Discouraged, not forbidden: its fused attention has no second derivative, so it is not used here."""
    config = with_r1(tiny, 0.1).with_setting(f"training.precision={precision}")
    (warning,) = config.warnings()
    assert "training.r1 is 0.1" in warning
    with_it, without = Trainer(config, 0, CPU), Trainer(with_r1(tiny, 0.0), 0, CPU)
    assert float(with_it.step(noise).r1) > 0
    assert float(without.step(noise).r1) == 0
    assert with_it.discriminator.embed.weight.grad is not None
    assert (gradient(with_it) - gradient(without)).norm() > 1e-4


def test_only_a_vit_with_r1_is_warned_of(tiny: Config, stylegan2: Config) -> None:
    assert stylegan2.warnings() == tiny.warnings() == []
