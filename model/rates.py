"""Adam's groups of parameters, each with a factor of the learning rate."""

from __future__ import annotations

import math
from typing import Any

from torch import nn


def rate_groups(
    network: nn.Module, equalized: bool, mapping_rate: float, rate: float = 1.0
) -> list[dict[str, Any]]:
    """Adam's parameter groups, each with the ``scale`` of its learning rate; ``rate`` is a factor of all.

    Equalized learning rate (Karras et al. 2018) scales unit weights V by c = 1 / sqrt(fan_in) at run time.
    Adam's step does not depend on the gradient's size, so a step of V by a is one of W = c V by c a: the
    same is had by scaling the rate. A mapping network's multiplier is one more such factor.
    """
    groups: dict[float, list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        matrix = parameter.dim() == 2 and name not in ("position", "class_token")
        scale = rate / math.sqrt(parameter.shape[1]) if equalized and matrix else rate
        scale *= mapping_rate if name.startswith("mapping.") else 1.0
        groups.setdefault(scale, []).append(parameter)
    return [{"params": parameters, "scale": scale} for scale, parameters in groups.items()]
