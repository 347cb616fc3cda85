"""The losses, on logits [B]; each returns a scalar."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """Logistic: -log sigmoid(D(x)) - log(1 - sigmoid(D(G(z)))); 2 ln 2 when D knows nothing."""
    return F.softplus(-real).mean() + F.softplus(fake).mean()


def generator_loss(fake: Tensor) -> Tensor:
    """Non-saturating logistic: -log sigmoid(D(G(z))) (Goodfellow et al. 2014); ln 2 at first."""
    return F.softplus(-fake).mean()


def consistency_loss(plain: Tensor, augmented: Tensor) -> Tensor:
    """(D(x) - D(T(x)))^2, one half of bCR (Zhao et al. 2021; paper, eq. 10), before its lambda."""
    return (plain - augmented).square().mean()


def gradient_penalty(logits: Tensor, images: Tensor) -> Tensor:
    """R1, |grad_x D(x)|^2, before its gamma / 2 (Mescheder et al. 2018); its own gradient flows on.

    ``logits`` [B] are D's of ``images`` [B, 3, r, r], which require a gradient.
    """
    (gradient,) = torch.autograd.grad(logits.sum(), images, create_graph=True)  # [B, 3, r, r]
    return gradient.square().sum((1, 2, 3)).mean()
