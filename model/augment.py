"""DiffAugment (Zhao et al. 2020): colour, translation and cutout, differentiable, one draw a picture.

All take and give pictures [B, 3, r, r], about -1..1. What is random comes in as uniform numbers in [0, 1),
a row a picture: so a batch can be cut into parts, on one device or several, and stays the same batch.
"""

from __future__ import annotations

from collections.abc import Collection

import torch
import torch.nn.functional as F
from torch import Tensor

TRANSLATION = 1 / 8  # of the side, either way
CUTOUT = 1 / 2  # side of the hole, of the side
DRAWS = 8  # random numbers a picture


def augment(images: Tensor, u: Tensor, policy: Collection[str], probability: Tensor | float = 1.0) -> Tensor:
    """T(x): the transforms that ``policy`` names, in DiffAugment's order, on a share of the pictures.

    ``u`` [B, 8] are the draws: whether, three of colour, two of translation, two of cutout.
    """
    changed = images
    if "colour" in policy:
        changed = colour(changed, u[:, 1:4])
    if "translation" in policy:
        changed = translate(changed, u[:, 4:6])
    if "cutout" in policy:
        changed = cutout(changed, u[:, 6:8])
    return torch.where(u[:, 0, None, None, None] < probability, changed, images)


def colour(images: Tensor, u: Tensor) -> Tensor:
    """Brightness + U(-0.5, 0.5), saturation x U(0, 2), contrast x U(0.5, 1.5); ``u`` [B, 3]."""
    brightness, saturation, contrast = u.T[:, :, None, None, None]  # [B, 1, 1, 1] each
    images = images + (brightness - 0.5)
    grey = images.mean(1, keepdim=True)
    images = grey + (images - grey) * (saturation * 2)
    mean = images.mean((1, 2, 3), keepdim=True)
    return mean + (images - mean) * (contrast + 0.5)


def translate(images: Tensor, u: Tensor) -> Tensor:
    """Moves by whole pixels, up to r / 8 either way on each axis; zeros come in; ``u`` [B, 2]."""
    batch, _, height, width = images.shape
    reach = round(height * TRANSLATION)
    dy, dx = _whole(u, -reach, reach)  # [B, 1] each
    padded = F.pad(images, (reach,) * 4).permute(0, 2, 3, 1)  # [B, r + 2 reach, r + 2 reach, 3]
    rows = torch.arange(height, device=images.device) + dy + reach  # [B, r]
    columns = torch.arange(width, device=images.device) + dx + reach  # [B, r]
    index = torch.arange(batch, device=images.device)[:, None, None]
    return padded[index, rows[:, :, None], columns[:, None]].permute(0, 3, 1, 2)


def cutout(images: Tensor, u: Tensor) -> Tensor:
    """Zeroes a square of half the side, centred anywhere in the picture; ``u`` [B, 2]."""
    height, width = images.shape[2:]
    size = round(height * CUTOUT)
    top, left = _whole(u, -(size // 2), height - size // 2 - 1)  # [B, 1] each
    rows = torch.arange(height, device=images.device)
    columns = torch.arange(width, device=images.device)
    hit_rows = (rows >= top) & (rows < top + size)  # [B, r]
    hit_columns = (columns >= left) & (columns < left + size)  # [B, r]
    return images * ~(hit_rows[:, None, :, None] & hit_columns[:, None, None, :])


def _whole(u: Tensor, low: int, high: int) -> Tensor:
    """Uniform numbers [B, 2] in [0, 1) to whole ones in low..high: [2, B, 1]."""
    return (u * (high - low + 1)).long().add(low).T[:, :, None]
