"""The generator: position embedding in, one token a patch out, each painted by its SIREN.

B batch, L tokens (grid x grid), D width; a window's cells are c_y x c_x = C, each with n_y x n_x pixels.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.config import GeneratorConfig
from model.layers import SelfAttention, SelfModulatedLayerNorm, linear
from model.plane import Window
from model.siren import Siren

# Radians across half the picture: neighbouring patches are alike, distant ones are not.
POSITION_STD = 3.0


class MappingNetwork(nn.Module):
    """w = MLP(z), z first brought to unit length per component (StyleGAN's PixelNorm)."""

    def __init__(self, z_dim: int, width: int, layers: int) -> None:
        super().__init__()
        sizes = [z_dim] + [width] * layers
        self.layers = nn.ModuleList(linear(a, b, gain=math.sqrt(2)) for a, b in itertools.pairwise(sizes))

    def forward(self, z: Tensor) -> Tensor:
        """Latents [B, z_dim] to styles [B, D]."""
        w = F.rms_norm(z, z.shape[-1:])  # [B, z_dim]
        for layer in self.layers:
            w = F.leaky_relu(layer(w), 0.2)  # [B, D]
        return w


class GeneratorBlock(nn.Module):
    """h' = MSA(SLN(h, w)) + h ;  h'' = MLP(SLN(h', w)) + h'   (paper, eqs. 12 and 13)."""

    def __init__(self, width: int, heads: int, mlp_ratio: int, residual: str = "input") -> None:
        super().__init__()
        self.residual = residual
        self.norm_attention = SelfModulatedLayerNorm(width)
        self.attention = SelfAttention(width, heads)
        self.norm_mlp = SelfModulatedLayerNorm(width)
        self.mlp = nn.Sequential(
            linear(width, mlp_ratio * width), nn.GELU(), linear(mlp_ratio * width, width)
        )

    def forward(self, h: Tensor, w: Tensor) -> Tensor:
        """Tokens [B, L, D] and style [B, D] to tokens [B, L, D]."""
        x = self.norm_attention(h, w)  # [B, L, D]
        h = (h if self.residual == "input" else x) + self.attention(x)  # [B, L, D]
        x = self.norm_mlp(h, w)  # [B, L, D]
        return (h if self.residual == "input" else x) + cast(Tensor, self.mlp(x))  # [B, L, D]


class Generator(nn.Module):
    """ViTGAN's generator. Only the position embedding enters; the style modulates through SLN.

    ``w_mean`` is the mean style, toward which truncation moves; ``measure_w_mean`` sets it.
    """

    positions: Tensor
    w_mean: Tensor

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.config = config
        self.mapping = MappingNetwork(config.z_dim, config.width, config.mapping_layers)
        self.position = linear(2, config.width)
        nn.init.normal_(self.position.weight, std=POSITION_STD)
        nn.init.uniform_(self.position.bias, -math.pi, math.pi)
        self.blocks = nn.ModuleList(
            GeneratorBlock(config.width, config.heads, config.mlp_ratio, config.residual)
            for _ in range(config.blocks)
        )
        self.norm = SelfModulatedLayerNorm(config.width)
        self.siren = Siren(config)
        self.native = Window.whole(config.resolution, config.resolution, config)
        self.register_buffer("positions", cell_centres(config.grid), persistent=False)
        self.register_buffer("w_mean", torch.zeros(config.width))

    def truncate(self, w: Tensor, truncation: Tensor) -> Tensor:
        """Styles [B, D] moved toward the mean: w_mean + psi (w - w_mean), psi [B] in 0..1."""
        return torch.lerp(self.w_mean.expand_as(w), w, truncation[:, None])

    def tokens(self, w: Tensor, count: int | None = None) -> Tensor:
        """Styles [B, D] to one embedding a patch, y = SLN(h_L, w) [B, L, D], rows before columns.

        With ``count`` only the first so many styles are pictures, B = count; the rest is padding.
        """
        h = torch.sin(self.position(self.positions))  # E_pos = sin(linear(position)) [L, D]
        h = h.expand(count or len(w), -1, -1)  # [B, L, D]
        for block in self.blocks:
            h = block(h, w)  # [B, L, D]
        return cast(Tensor, self.norm(h, w))  # [B, L, D]

    def paint(self, y: Tensor, window: Window) -> Tensor:
        """Tokens [B, L, D] to the pixels of a window [B, 3, H, W], about -1..1."""
        columns, rows, grid = window.columns, window.rows, self.config.grid
        cells = [row.cell * grid + column.cell for row in rows.reaches for column in columns.reaches]
        v = _pairs(columns.padded_places, rows.padded_places).to(y.device)  # [C, n_y n_x, 2]
        rgb = self.siren(v, y[:, cells], window.level)  # [B, C, n_y n_x, 3]
        sizes = (len(rows.reaches), len(columns.reaches), rows.widest, columns.widest)
        rgb = torch.unflatten(torch.unflatten(rgb, 2, sizes[2:]), 1, sizes[:2])  # [B, c_y, c_x, n_y, n_x, 3]
        painted = rgb.permute(0, 5, 1, 3, 2, 4).flatten(4).flatten(2, 3)  # [B, 3, c_y n_y, c_x n_x]
        across = painted @ columns.stitching.to(painted)  # [B, 3, c_y n_y, W]
        return rows.stitching.T.to(painted) @ across  # [B, 3, H, W]

    def forward(self, z: Tensor, windows: Sequence[Window] = ()) -> Tensor:
        """Latents [B, z_dim] to pictures [B, 3, r, r], about -1..1, at the native resolution r.

        With ``windows``, V of the same size, B / V pictures are painted through each, in their order.
        """
        y = self.tokens(self.mapping(z))  # [B, L, D]
        windows = windows or (self.native,)
        return torch.cat([self.paint(*pair) for pair in zip(y.chunk(len(windows)), windows, strict=True)])

    @torch.no_grad()
    def measure_w_mean(self, samples: int = 4096) -> None:
        """Sets ``w_mean`` to the mean style of that many latents, the same ones each time."""
        z = torch.randn(samples, self.config.z_dim, generator=torch.Generator().manual_seed(0))
        self.w_mean.copy_(self.mapping(z.to(self.w_mean.device)).mean(0))


def _pairs(across: Tensor, down: Tensor) -> Tensor:
    """Places along x [c_x, n_x] and y [c_y, n_y] to those of all cells' pixels: [c_y c_x, n_y n_x, 2]."""
    (c_x, n_x), (c_y, n_y) = across.shape, down.shape
    x = across[None, :, None, :].expand(c_y, c_x, n_y, n_x)
    y = down[:, None, :, None].expand(c_y, c_x, n_y, n_x)
    return torch.stack((x, y), -1).flatten(2, 3).flatten(0, 1)


def cell_centres(side: int, device: torch.device | None = None) -> Tensor:
    """Centres (x, y) in [-1, 1] of side x side cells, row by row: [side^2, 2]."""
    line = (torch.arange(side, device=device) + 0.5) * (2 / side) - 1
    y, x = torch.meshgrid(line, line, indexing="ij")
    return torch.stack((x, y), -1).flatten(0, 1)
