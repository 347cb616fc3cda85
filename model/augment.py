"""DiffAugment (Zhao et al. 2020): colour, translation and cutout, differentiable, one draw a picture.

All take and give pictures [B, 3, r, r], about -1..1.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

TRANSLATION = 1 / 8  # of the side, either way
CUTOUT = 1 / 2  # side of the hole, of the side


def augment(images: Tensor) -> Tensor:
    """T(x): all three transforms, in DiffAugment's order."""
    return cutout(translate(colour(images)))


def colour(images: Tensor) -> Tensor:
    """Brightness + U(-0.5, 0.5), saturation x U(0, 2), contrast x U(0.5, 1.5)."""
    brightness, saturation, contrast = torch.rand(3, len(images), 1, 1, 1, device=images.device)
    images = images + (brightness - 0.5)
    grey = images.mean(1, keepdim=True)
    images = grey + (images - grey) * (saturation * 2)
    mean = images.mean((1, 2, 3), keepdim=True)
    return mean + (images - mean) * (contrast + 0.5)


def translate(images: Tensor) -> Tensor:
    """Moves each picture by whole pixels, up to r / 8 either way on each axis; zeros come in."""
    batch, _, height, width = images.shape
    reach = round(height * TRANSLATION)
    dy, dx = torch.randint(-reach, reach + 1, (2, batch, 1), device=images.device)
    padded = F.pad(images, (reach,) * 4).permute(0, 2, 3, 1)  # [B, r + 2 reach, r + 2 reach, 3]
    rows = torch.arange(height, device=images.device) + dy + reach  # [B, r]
    columns = torch.arange(width, device=images.device) + dx + reach  # [B, r]
    index = torch.arange(batch, device=images.device)[:, None, None]
    return padded[index, rows[:, :, None], columns[:, None]].permute(0, 3, 1, 2)


def cutout(images: Tensor) -> Tensor:
    """Zeroes a square of half the side, centred anywhere in the picture."""
    batch, _, height, width = images.shape
    size = round(height * CUTOUT)
    top, left = torch.randint(-(size // 2), height - size // 2, (2, batch, 1), device=images.device)
    rows = torch.arange(height, device=images.device)
    columns = torch.arange(width, device=images.device)
    hit_rows = (rows >= top) & (rows < top + size)  # [B, r]
    hit_columns = (columns >= left) & (columns < left + size)  # [B, r]
    return images * ~(hit_rows[:, None, :, None] & hit_columns[:, None, None, :])
