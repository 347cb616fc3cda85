"""Can patch borders be seen? Steps of colour across them beside the steps next to them.

    ratio = mean |I(x) - I(x - 1)| across borders / mean |I(x) - I(x - 1)| one pixel to either side

over both axes and a batch of pictures: 1 when borders are like any place, more where patches do not meet,
less where blending has made them dull.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from model.plane import Axis, Window


def seam_ratio(pictures: Tensor, window: Window) -> Tensor:
    """Of pictures [B, 3, H, W] seen through a window: a scalar, 1 if no border lies well inside."""
    across, beside = [], []
    for axis, dim in ((window.columns, 3), (window.rows, 2)):
        steps = pictures.diff(dim=dim).abs().movedim(dim, 0).flatten(1).mean(1)  # [pixels - 1]
        borders = crossings(axis)
        across.append(steps[borders])
        beside.append((steps[borders - 1] + steps[borders + 1]) / 2)
    if not sum(map(len, across)):
        return pictures.new_ones(())
    return torch.cat(across).mean() / torch.cat(beside).mean()


def crossings(axis: Axis) -> Tensor:
    """The steps between pixels of two cells that have a step on either side."""
    pixels = axis.pixels
    places = pixels.first + torch.arange(pixels.count) * pixels.step
    cells = (places * axis.grid).div(pixels.whole, rounding_mode="floor").clamp(0, axis.grid - 1)
    return cells.diff()[1:-1].nonzero().flatten() + 1


def seam_loss(pictures: Tensor, windows: Sequence[Window]) -> Tensor:
    """(log ratio)^2 of pictures [B, 3, H, W], B / V through each of V windows, summed: a scalar."""
    shares = zip(pictures.float().chunk(len(windows)), windows, strict=True)
    return torch.stack([seam_ratio(*share).log().square() for share in shares]).sum()
