"""StyleGAN2's discriminator (Karras et al. 2020), with which the paper's generator has its best FID.

B pictures, r their side, s the side of a level (r, r/2, ... 4), c and c' channels. All layers have an
equalized learning rate (Karras et al. 2018, section 4.1): a weight is v / sqrt(fan_in), scaled at run time,
where v starts with unit variance. Activations are leaky ReLUs of slope 0.2, times sqrt(2) to keep the
variance. lrelu(g x) = g lrelu(x) for g > 0, so this sqrt(2) and the 1 / sqrt(2) of a residual sum are folded
into the weights.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.config import DiscriminatorConfig

BLUR = (1, 3, 3, 1)  # the low-pass filter before each halving, along each axis
SLOPE = 0.2
ACTIVE = math.sqrt(2)  # gain of a layer that an activation follows
LAST_SIDE = 4


class EqualizedConv(nn.Module):
    """Convolution by gain / sqrt(fan_in) * V, V of unit variance; the bias starts at 0."""

    def __init__(self, channels: int, out: int, side: int, gain: float = 1.0, bias: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out, channels, side, side))
        self.bias = nn.Parameter(torch.zeros(out)) if bias else None
        self.gain, self.scale = gain, gain / math.sqrt(channels * side * side)

    def forward(self, x: Tensor, stride: int = 1, padding: int = 0) -> Tensor:
        """[B, c, s, s] to [B, c', s', s']."""
        bias = None if self.bias is None else self.bias * self.gain
        return F.conv2d(x, self.weight * self.scale, bias, stride, padding)


class EqualizedLinear(nn.Module):
    """The same for a linear layer."""

    def __init__(self, fan_in: int, fan_out: int, gain: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(fan_out, fan_in))
        self.bias = nn.Parameter(torch.zeros(fan_out))
        self.gain, self.scale = gain, gain / math.sqrt(fan_in)

    def forward(self, x: Tensor) -> Tensor:
        """[B, in] to [B, out]."""
        return F.linear(x, self.weight * self.scale, self.bias * self.gain)


def activate(x: Tensor) -> Tensor:
    """Leaky ReLU; its sqrt(2) is in the layer before."""
    return F.leaky_relu(x, SLOPE)


class Blur(nn.Module):
    """The low-pass filter [1, 3, 3, 1] / 8 along both axes, zeros beyond the edge (Zhang 2019)."""

    kernel: Tensor

    def __init__(self) -> None:
        super().__init__()
        line = torch.tensor(BLUR, dtype=torch.float32) / sum(BLUR)
        self.register_buffer("kernel", torch.outer(line, line)[None, None], persistent=False)

    def forward(self, x: Tensor, padding: int, stride: int = 1) -> Tensor:
        """[B, c, s, s] to [B, c, s', s'], s' = (s + 2 padding - 4) / stride + 1."""
        channels = x.shape[1]
        kernel = self.kernel.to(x.dtype).expand(channels, -1, -1, -1)  # [c, 1, 4, 4]
        return F.conv2d(x, kernel, stride=stride, padding=padding, groups=channels)


class ResidualBlock(nn.Module):
    """y = (conv(conv(x)) + skip(x)) / sqrt(2), both halved; StyleGAN2's figure 7c, "residual nets"."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.blur = Blur()
        self.first = EqualizedConv(channels, channels, 3, ACTIVE)
        self.second = EqualizedConv(channels, out, 3, ACTIVE / math.sqrt(2))
        self.skip = EqualizedConv(channels, out, 1, 1 / math.sqrt(2), bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[B, c, s, s] to [B, c', s/2, s/2]."""
        h = activate(self.first(x, padding=1))  # [B, c, s, s]
        h = self.blur(h, padding=2)  # [B, c, s+1, s+1]
        h = activate(self.second(h, stride=2))  # [B, c', s/2, s/2]
        skipped = self.blur(x, padding=1, stride=2)  # [B, c, s/2, s/2]
        return h + cast(Tensor, self.skip(skipped))  # [B, c', s/2, s/2]


def minibatch_std(h: Tensor, group: int) -> Tensor:
    """How much pictures differ within their group, as one more channel (Karras et al. 2018, section 3).

    A group is of consecutive pictures: so a part of a batch has the groups that the whole batch has, if
    ``group`` divides the part. A batch smaller than a group is one group. [B, c, s, s] to [B, c + 1, s, s].
    """
    exact = h.to(torch.promote_types(h.dtype, torch.float32))  # squares of bf16 are too coarse
    groups = torch.unflatten(exact, 0, (-1, min(group, len(h))))  # [B / m, m, c, s, s]
    deviation = (groups.var(1, correction=0) + 1e-8).sqrt().mean((1, 2, 3))  # [B / m]
    channel = deviation.repeat_interleave(groups.shape[1])[:, None, None, None]  # [B, 1, 1, 1]
    return torch.cat((h, channel.to(h.dtype).expand(-1, 1, *h.shape[2:])), 1)


class StyleGAN2Discriminator(nn.Module):
    """One logit a picture; residual blocks down to 4 x 4, then the whole of it in two linear layers.

    With ``views`` it is told which part of a picture it sees, as if by three more input channels, each of
    one value: what a 1 x 1 convolution makes of those is added to its first activation.
    """

    def __init__(self, config: DiscriminatorConfig, views: bool = False) -> None:
        super().__init__()
        self.config = config
        sides = [config.resolution >> level for level in range(config.levels)]  # r, r/2, ... 4
        widths = [config.channels(side) for side in sides]
        self.from_rgb = EqualizedConv(3, widths[0], 1, ACTIVE)
        self.view = nn.Parameter(torch.zeros(3, widths[0])) if views else None
        self.blocks = nn.ModuleList(ResidualBlock(width, out) for width, out in pairwise(widths))
        self.last = EqualizedConv(widths[-1] + 1, widths[-1], 3, ACTIVE)
        self.hidden = EqualizedLinear(widths[-1] * LAST_SIDE**2, widths[-1], ACTIVE)
        self.head = EqualizedLinear(widths[-1], 1)

    def forward(self, images: Tensor, places: Tensor | None = None) -> Tensor:
        """Pictures [B, 3, r, r], about -1..1, to logits [B]; high means real.

        ``places`` [B, 3] tell of which part of a picture each is (``View.place``).
        """
        images = images.contiguous(memory_format=torch.channels_last)  # the faster layout of all that follows
        h = self.from_rgb(images)  # [B, c, r, r]
        if self.view is not None and places is not None:
            h = h + (places @ self.view)[:, :, None, None]  # [B, c, r, r]
        h = activate(h)
        for block in self.blocks:
            h = block(h)  # [B, c', s/2, s/2]
        h = minibatch_std(h, self.config.minibatch_group)  # [B, c + 1, 4, 4]
        h = activate(self.last(h, padding=1))  # [B, c, 4, 4]
        h = activate(self.hidden(h.flatten(1)))  # [B, c]
        return cast(Tensor, self.head(h)).squeeze(1)  # [B]

    def power_iterate(self) -> None:
        """Nothing here is spectrally normalised."""
