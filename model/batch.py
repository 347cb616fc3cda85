"""What one step works on: all that is random in it, and whether its batch can be cut into parts.

B pictures in V views of B / V (one, or two with crops), r their side.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from model.augment import DRAWS
from model.config import Config
from model.plane import Window
from model.views import View, draw_views

Read = Callable[[Tensor, Sequence[View]], Tensor]  # flips [B] and V views to real pictures [B, 3, r, r]


@dataclass(frozen=True)
class Draws:
    """All that is random in one step, for the whole batch."""

    views: tuple[View, ...]  # V
    windows: tuple[Window, ...]  # V, where the pixels of generated pictures lie
    places: Tensor  # [V, 3]: what D is told of each view
    real: Tensor  # [V, B / V, 3, r, r]
    z: Tensor  # [2, V, B / V, z_dim]: latents of D's step and of G's
    u: Tensor  # [3, V, B / V, DRAWS]: augmentation of real, of fake in D's step, of fake in G's


def draw(config: Config, device: torch.device, read: Read) -> Draws:
    """Draws a step's random numbers from torch's generator, and reads its real pictures."""
    settings = config.training
    views, batch = draw_views(config), settings.batch
    flip = torch.rand(batch, device=device) < (0.5 if settings.mirror else 0.0)
    z = torch.randn(2, batch, config.generator.z_dim, device=device)
    u = torch.rand(3, batch, DRAWS, device=device)
    of_views = (len(views), -1)
    return Draws(
        views=views,
        windows=tuple(view.window(config.generator, settings.oversample) for view in views),
        places=torch.stack([view.place(config) for view in views]).to(device),
        real=torch.unflatten(read(flip, views), 0, of_views),
        z=torch.unflatten(z, 1, of_views),
        u=torch.unflatten(u, 1, of_views),
    )


def check_parts(config: Config, world: int) -> None:
    """Raises ``ValueError`` if the batch cannot be cut into equal parts, or those into groups."""
    settings, discriminator = config.training, config.discriminator
    parts = config.views * world * settings.accumulate
    if settings.batch % parts:
        raise ValueError(
            f"training.batch is {settings.batch}: give a multiple of the {world} devices "
            f"times training.accumulate={settings.accumulate}" + " times 2 views" * (config.views - 1)
        )
    size = settings.batch // parts
    if discriminator.kind == "stylegan2" and size % discriminator.minibatch_group:
        raise ValueError(
            f"discriminator.minibatch_group is {discriminator.minibatch_group}: give a divisor of {size}, "
            f"the pictures of a view that are judged at once (training.batch={settings.batch}, "
            f"{config.views} views, {world} devices, training.accumulate={settings.accumulate})"
        )
