"""The averaged generator: the one that is shown, published and judged."""

from __future__ import annotations

import torch
from torch import nn


def ema_decay(batch: int, images_seen: int, half_life_kimg: float, rampup: float) -> float:
    """Decay of one step: 0.5 ** (batch / half-life), the half-life at most ``rampup`` of what was seen."""
    half_life = min(half_life_kimg * 1000, images_seen * rampup)
    return 0.5 ** (batch / max(half_life, 1e-8))


@torch.no_grad()
def ema_update(average: nn.Module, source: nn.Module, decay: float) -> None:
    """Average = decay * average + (1 - decay) * source, over all parameters at once."""
    torch._foreach_lerp_(list(average.parameters()), list(source.parameters()), 1 - decay)
