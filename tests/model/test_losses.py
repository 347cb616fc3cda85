from __future__ import annotations

import math

import pytest
import torch

from model.losses import consistency_loss, discriminator_loss, generator_loss, gradient_penalty

# ln(1 + e^0), ln(1 + e^-1) and ln(1 + e^-2), by hand
LN2, A, B = 0.693147, 0.313262, 0.126928


def test_discriminator_loss_is_logistic() -> None:
    loss = discriminator_loss(torch.tensor([0.0, 2.0]), torch.tensor([0.0, -1.0]))
    assert loss.shape == ()
    assert loss.item() == pytest.approx((LN2 + B) / 2 + (LN2 + A) / 2, abs=1e-5)


def test_generator_loss_is_non_saturating() -> None:
    fake = torch.tensor([0.0, 1.0], requires_grad=True)
    loss = generator_loss(fake)
    loss.backward()
    assert loss.item() == pytest.approx((LN2 + A) / 2, abs=1e-5)
    assert fake.grad is not None
    # The gradient is -sigmoid(-logit) / B: it does not vanish where D is sure of a fake.
    assert fake.grad.tolist() == pytest.approx([-0.25, -0.134471], abs=1e-5)


def test_an_ignorant_discriminator_scores_ln_2() -> None:
    nothing = torch.zeros(5)
    assert discriminator_loss(nothing, nothing).item() == pytest.approx(2 * math.log(2))
    assert generator_loss(nothing).item() == pytest.approx(math.log(2))


def test_consistency_loss_is_the_mean_squared_difference() -> None:
    loss = consistency_loss(torch.tensor([1.0, 3.0]), torch.tensor([0.0, 1.0]))
    assert loss.item() == pytest.approx(2.5)


def test_losses_stay_finite_for_sure_logits() -> None:
    sure = torch.tensor([1e4])
    assert discriminator_loss(-sure, sure).item() == pytest.approx(2e4)
    assert generator_loss(sure).item() == pytest.approx(0)


def test_the_gradient_penalty_is_the_squared_slope_by_hand() -> None:
    """D(x) = k |x|^2 / 2 has the slope k x: the penalty is k^2 |x|^2, and its derivative by k 2 k |x|^2."""
    k = torch.tensor(3.0, requires_grad=True)
    x = torch.zeros(2, 3, 2, 2)
    x[0, 1, 0, 1], x[1, 2, 1, 0] = 2.0, 4.0  # |x|^2 is 4 and 16
    x.requires_grad_()
    penalty = gradient_penalty(k * x.square().sum((1, 2, 3)) / 2, x)
    assert penalty.shape == ()
    assert penalty.item() == pytest.approx(9 * (4 + 16) / 2)
    penalty.backward()
    assert k.grad is not None
    assert k.grad.item() == pytest.approx(6 * (4 + 16) / 2)
