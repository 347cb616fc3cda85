"""The discriminator: a Vision Transformer kept Lipschitz, judging overlapping patches.

B batch, N patches plus the class token, D width, p stride of the patches, o = p / 2 their overlap.
"""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.config import DiscriminatorConfig
from model.discriminator_stylegan2 import StyleGAN2Discriminator
from model.layers import ISNLinear, L2SelfAttention


class DiscriminatorBlock(nn.Module):
    """h' = L2-MSA(LN(h)) + h ;  h'' = MLP(LN(h')) + h'   (paper, section 3.2)."""

    def __init__(self, width: int, heads: int, mlp_ratio: int, query_gain: float) -> None:
        super().__init__()
        self.norm_attention = nn.LayerNorm(width)
        self.attention = L2SelfAttention(width, heads, query_gain)
        self.norm_mlp = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            ISNLinear(width, mlp_ratio * width), nn.GELU(), ISNLinear(mlp_ratio * width, width)
        )

    def forward(self, h: Tensor) -> Tensor:
        """[B, N, D] to [B, N, D]."""
        h = h + self.attention(self.norm_attention(h))
        return h + cast(Tensor, self.mlp(self.norm_mlp(h)))


class Discriminator(nn.Module):
    """One logit a picture, read from the class token: head(LN(h_L[0])).

    With ``views`` it is told which part of a picture it sees, by a linear embedding added to every token.
    """

    def __init__(self, config: DiscriminatorConfig, views: bool = False) -> None:
        super().__init__()
        self.config = config
        side = 2 * config.patch  # (p + 2o) with o = p / 2
        patches = (config.resolution // config.patch) ** 2
        self.embed = ISNLinear(3 * side * side, config.width)
        self.class_token = nn.Parameter(torch.randn(config.width) * 0.5)
        self.position = nn.Parameter(torch.randn(1 + patches, config.width) * 0.5)
        self.view = nn.Parameter(torch.zeros(3, config.width)) if views else None
        self.blocks = nn.ModuleList(
            DiscriminatorBlock(config.width, config.heads, config.mlp_ratio, config.query_gain)
            for _ in range(config.blocks)
        )
        self.norm = nn.LayerNorm(config.width)
        self.head = nn.Sequential(
            ISNLinear(config.width, config.width), nn.GELU(), ISNLinear(config.width, 1)
        )

    def patches(self, images: Tensor) -> Tensor:
        """Overlapping patches, 2p wide at stride p, zeros beyond the edge: [B, N-1, 12 p^2]."""
        p = self.config.patch
        return F.unfold(images, kernel_size=2 * p, stride=p, padding=p // 2).transpose(1, 2)

    def forward(self, images: Tensor, places: Tensor | None = None) -> Tensor:
        """Pictures [B, 3, r, r], about -1..1, to logits [B]; high means real.

        ``places`` [B, 3] tell of which part of a picture each is (``View.place``).
        """
        h = self.embed(self.patches(images))  # [B, N-1, D]
        token = self.class_token.expand(len(h), 1, -1)  # [B, 1, D]
        h = torch.cat((token, h), 1) + self.position  # [B, N, D]
        if self.view is not None and places is not None:
            h = h + (places @ self.view)[:, None]  # [B, N, D]
        for block in self.blocks:
            h = block(h)  # [B, N, D]
        return cast(Tensor, self.head(self.norm(h[:, 0]))).squeeze(1)  # [B]

    def power_iterate(self) -> None:
        """One power iteration in every ISN layer; call it once a step."""
        for module in self.modules():
            if isinstance(module, ISNLinear):
                module.power_iterate()


AnyDiscriminator = Discriminator | StyleGAN2Discriminator


def discriminator_of(config: DiscriminatorConfig, views: bool = False) -> AnyDiscriminator:
    """A new discriminator of the configured kind."""
    if config.kind == "stylegan2":
        return StyleGAN2Discriminator(config, views)
    return Discriminator(config, views)
