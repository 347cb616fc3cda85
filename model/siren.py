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

from model.layers import linear

EPSILON = 1e-8


class ModulatedLinear(nn.Module):
    """A linear layer whose weights a patch's embedding scales, in two forms that compute the same."""

    def __init__(self, fan_in: int, fan_out: int, width: int, demodulate: bool, gain: float = 1.0) -> None:
        super().__init__()
        self.demodulate = demodulate
        self.style = linear(width, fan_in, bias=1.0)
        self.weight = nn.Parameter(torch.randn(fan_out, fan_in) * (gain / math.sqrt(fan_in)))
        self.bias = nn.Parameter(torch.zeros(fan_out))

    def demodulation(self, style: Tensor) -> Tensor:
        """1 / sqrt(sum_i (s_i w_ij)^2): styles [M, in] to [M, out]."""
        return torch.rsqrt(F.linear(style.square(), self.weight.square()) + EPSILON)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Modulates the activations: x [M or 1, P, in] and embeddings y [M, D] to [M, P, out].

        Best for the few pixels of a native patch: one matrix product serves all patches.
        """
        style = self.style(y)  # [M, in]
        out = F.linear(x * style[:, None], self.weight)  # [M, P, out]
        if self.demodulate:
            out = out * self.demodulation(style)[:, None]
        return out + self.bias

    def fold(self, y: Tensor, out: Tensor) -> Tensor:
        """Modulates the weights themselves: embeddings [M, D] to w' [M, out, in], written into ``out``.

        Best for many pixels a patch: the style is paid for once, not at each pixel.
        """
        style = self.style(y)  # [M, in]
        torch.mul(self.weight, style[:, None], out=out)  # [M, out, in]
        if self.demodulate:
            out *= self.demodulation(style)[:, :, None]
        return out


class Siren(nn.Module):
    """The painter of all patches; which patch it is lies in y alone."""

    def __init__(
        self, width: int, siren_width: int, fourier_dim: int, fourier_std: float, demodulate: bool
    ) -> None:
        super().__init__()
        self.fourier = nn.Parameter(torch.randn(fourier_dim, 2) * fourier_std)
        self.hidden = nn.ModuleList(
            ModulatedLinear(fan_in, siren_width, width, demodulate) for fan_in in (fourier_dim, siren_width)
        )
        # Faint at first (gain 0.3): a flat grey start is nearer to pictures than saturated texture.
        self.rgb = ModulatedLinear(siren_width, 3, width, demodulate=False, gain=0.3)

    def embed(self, v: Tensor) -> Tensor:
        """E_fou(v) = sin(W v): positions (x, y) [..., 2] to features [..., F]."""
        return torch.sin(F.linear(v, self.fourier))

    def forward(self, v: Tensor, y: Tensor) -> Tensor:
        """Positions [P, 2] shared by all patches and embeddings [M, D] to colours [M, P, 3]."""
        x = self.embed(v)[None]  # [1, P, F]
        for layer in self.hidden:
            x = torch.sin(layer(x, y))  # [M, P, S]
        return cast(Tensor, self.rgb(x, y))  # [M, P, 3]
