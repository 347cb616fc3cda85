"""The patch painter: one SIREN (Sitzmann et al. 2020) a patch, its weights modulated by the patch's token.

A pixel at v in [-1, 1]^2 of its patch is painted from E_fou(v) = sin(W v) by two sine layers and a
linear one to RGB (paper, section 3.4). Every weight of every layer is modulated by the patch's
embedding y through a style s = A y, as in StyleGAN2:

    w'_ijk = s_i * w_ijk                 then, if demodulated, w'_ijk / sqrt(sum_i w'_ijk^2)

M patches (batch and grid together), P pixels of a patch, D width of a token, S width of the painter.
"""

from __future__ import annotations

import math
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.config import GeneratorConfig
from model.layers import linear

EPSILON = 1e-8


class ModulatedLinear(nn.Module):
    """A linear layer whose weights a patch's embedding scales.

    With ``levels`` the style also depends on how fine the pixels are: s = A y + level * a, a learned.
    """

    def __init__(
        self, fan_in: int, fan_out: int, width: int, demodulate: bool, gain: float = 1.0, levels: bool = False
    ) -> None:
        super().__init__()
        self.demodulate = demodulate
        self.style = linear(width, fan_in, bias=1.0)
        self.level = nn.Parameter(torch.zeros(fan_in)) if levels else None
        self.weight = nn.Parameter(torch.randn(fan_out, fan_in) * (gain / math.sqrt(fan_in)))
        self.bias = nn.Parameter(torch.zeros(fan_out))

    def styles(self, y: Tensor, level: float) -> Tensor:
        """Embeddings [..., D] to styles s = A y + level * a [..., in]."""
        style: Tensor = self.style(y)
        return style if self.level is None else style + level * self.level

    def demodulation(self, style: Tensor) -> Tensor:
        """1 / sqrt(sum_i (s_i w_ij)^2): styles [..., in] to [..., out]."""
        return torch.rsqrt(F.linear(style.square(), self.weight.square()) + EPSILON)

    def forward(self, x: Tensor, y: Tensor, level: float = 0.0) -> Tensor:
        """Modulates the activations: x [..., P, in] and embeddings y [..., D] to [..., P, out].

        Best for the few pixels of a native patch: one matrix product serves all patches. For many pixels
        model/painter.py folds the style into the weights, which computes the same.
        """
        style = self.styles(y, level)  # [..., in]
        out = F.linear(x * style[..., None, :], self.weight)  # [..., P, out]
        if self.demodulate:
            out = out * self.demodulation(style)[..., None, :]
        return out + self.bias


class Siren(nn.Module):
    """The painter of all patches; which patch it is lies in y alone."""

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.fourier = nn.Parameter(torch.randn(config.fourier_dim, 2) * config.fourier_std)
        levels = config.zoom > 1
        self.hidden = nn.ModuleList(
            ModulatedLinear(fan_in, config.siren_width, config.width, config.demodulate, levels=levels)
            for fan_in in (config.fourier_dim, config.siren_width)
        )
        # Faint at first (gain 0.3): a flat grey start is nearer to pictures than saturated texture.
        self.rgb = ModulatedLinear(config.siren_width, 3, config.width, False, gain=0.3, levels=levels)

    def embed(self, v: Tensor) -> Tensor:
        """E_fou(v) = sin(W v): positions (x, y) [..., 2] to features [..., F]."""
        return torch.sin(F.linear(v, self.fourier))

    def forward(self, v: Tensor, y: Tensor, level: float = 0.0) -> Tensor:
        """Positions [C or 1, P, 2] of C patches and embeddings [..., C, D] to colours [..., C, P, 3].

        ``level``: log2 of how much finer than native size the pixels are.
        """
        x = self.embed(v)  # [C or 1, P, F]
        for layer in self.hidden:
            x = torch.sin(layer(x, y, level))  # [..., C, P, S]
        return cast(Tensor, self.rgb(x, y, level))  # [..., C, P, 3]
