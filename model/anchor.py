"""A training that starts from a published generator G_0 and keeps its pictures while it learns something new.

    drift(G) = E[ |G(z, v) - up(G_0(z), v)|^2 ]

over latents z and the step's views v. up(x, v) is the native picture x, seen through v by bicubic
interpolation: what a resize of it would give. It is the content loss of super-resolution (Ledig et al. 2017),
which holds a finer picture to the coarse one, while D asks for what is missing.

b pictures, r their side, V views.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from model.generator import Generator
from model.views import View


class Anchor:
    """The generator that a training starts from, as it was."""

    def __init__(self, start: Generator, oversample: int) -> None:
        self.start, self.oversample = start.eval().requires_grad_(False), oversample

    def drift(self, fake: Tensor, z: Tensor, views: Sequence[View]) -> Tensor:
        """Of pictures [b, 3, r, r] that G painted of z [b, z_dim], b / V through each view: a scalar."""
        with torch.no_grad():
            native = self.start(z).float()  # [b, 3, r, r]
        shares = zip(fake.float().chunk(len(views)), native.chunk(len(views)), views, strict=True)
        return torch.stack([(ours - self.seen(held, v)).square().mean() for ours, held, v in shares]).mean()

    def seen(self, native: Tensor, view: View) -> Tensor:
        """Native pictures [b, 3, r, r] through a view, interpolated: [b, 3, r, r]."""
        side = native.shape[-1]
        # Pixel centres in half pictures from the middle: offset + (i + 1/2) step, in fine pixels.
        step, fine = self.oversample // view.scale, side * self.oversample
        along = (torch.arange(side, device=native.device) + 0.5) * step
        x, y = ((at + along) * (2 / fine) - 1 for at in (view.x, view.y))  # [r]
        grid = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1).expand(len(native), -1, -1, -1)
        return F.grid_sample(native, grid, "bicubic", "border", align_corners=False)
