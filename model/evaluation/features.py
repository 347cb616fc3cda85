"""Feature vectors of pictures: what a small classifier of CIFAR-10 sees just before it decides.

The weights come with the package. They were trained by ``train_features`` on CIFAR-10 (Krizhevsky 2009,
*Learning Multiple Layers of Features from Tiny Images*); the file's metadata says how well.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import cast

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

WEIGHTS = Path(__file__).parent / "cifar10-features.safetensors"
SIDE = 32  # pixels; CIFAR-10's own size
BATCH = 250  # pictures at once: the last bits of a convolution depend on it, so it stays fixed


class ConvBlock(nn.Module):
    """relu(norm(pool(conv(x)))), plus x where the shape stays the same."""

    def __init__(self, inputs: int, outputs: int, pool: int) -> None:
        super().__init__()
        self.residual = inputs == outputs and pool == 1
        self.conv = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.pool = nn.MaxPool2d(pool)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Maps [B, inputs, s, s] to [B, outputs, s / pool, s / pool]."""
        y = F.relu(self.norm(self.pool(self.conv(x))))
        return x + y if self.residual else y


class FeatureNet(nn.Module):
    """Five 3 x 3 convolutions, the mean over places, ten logits; ``embed`` is all but the logits."""

    def __init__(self, width: int = 48, classes: int = 10) -> None:
        super().__init__()
        self.blocks = nn.Sequential(
            ConvBlock(3, width, 2),  # [B, w, 16, 16]
            ConvBlock(width, 2 * width, 2),  # [B, 2 w, 8, 8]
            ConvBlock(2 * width, 2 * width, 1),  # [B, 2 w, 8, 8]
            ConvBlock(2 * width, 4 * width, 2),  # [B, 4 w, 4, 4]
            ConvBlock(4 * width, 4 * width, 1),  # [B, 4 w, 4, 4]
        )
        self.classify = nn.Linear(4 * width, classes)

    def embed(self, x: Tensor) -> Tensor:
        """Pictures [B, 3, 32, 32] in -1..1 to features [B, 4 width]."""
        return cast(Tensor, self.blocks(x)).mean((2, 3))

    def forward(self, x: Tensor) -> Tensor:
        """Pictures [B, 3, 32, 32] in -1..1 to logits [B, classes]."""
        return cast(Tensor, self.classify(self.embed(x)))


@cache
def feature_net() -> FeatureNet:
    """The shipped classifier, on the CPU and frozen."""
    net = FeatureNet()
    net.load_state_dict(load_file(WEIGHTS))
    return net.eval().requires_grad_(False)


@torch.no_grad()
def features(pictures: Tensor) -> Tensor:
    """Pictures [N, 3, r, r] in -1..1 to features [N, 192]; other sides than 32 are resized, antialiased."""
    net = feature_net()
    return torch.cat([net.embed(_resized(part)) for part in torch.split(pictures, BATCH)])


def _resized(pictures: Tensor) -> Tensor:
    if pictures.shape[-1] != SIDE:
        pictures = F.interpolate(pictures, (SIDE, SIDE), mode="bilinear", antialias=True)
    return pictures.contiguous(memory_format=torch.channels_last)  # where CPUs convolve fastest
