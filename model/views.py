"""What of a picture a training step looks at: all of it, or a crop of it in finer pixels.

Detail above the native size is learned, not interpolated: half of each batch are crops of the same r x r
pixels, 1/s of a side wide, s = 2, 4, ... zoom (training over scales as in any-resolution GANs, Chai et al.
2022). The real pictures are kept at their fine size and averaged over each pixel; the generated ones are
painted at the same places, told by their level how fine the pixels are; D is told which part it sees.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from model.config import Config, GeneratorConfig
from model.plane import Axis, Pixels, Window


@dataclass(frozen=True)
class View:
    """r x r pixels, ``scale`` times finer than native, from the fine pixel (x, y) on."""

    scale: int = 1
    x: int = 0
    y: int = 0

    def window(self, config: GeneratorConfig, oversample: int) -> Window:
        """Where the pixels lie, for the generator; ``oversample`` fine pixels make a native one."""
        fine, step = config.resolution * oversample, oversample // self.scale
        columns, rows = (
            Axis.of(Pixels(config.resolution, 2 * at + step, 2 * step, 2 * fine), config)
            for at in (self.x, self.y)
        )
        return Window(columns, rows, math.log2(self.scale))

    def cut(self, fine: Tensor, resolution: int) -> Tensor:
        """The same of real pictures [B, 3, s r, s r] uint8: [B, 3, r, r] in -1..1.

        A pixel is the mean of the fine ones that it covers; beyond the edge the edge goes on.
        """
        side = fine.shape[-1]
        step = side // (resolution * self.scale)
        along = torch.arange(resolution * step)
        x, y = ((at + along).clamp(0, side - 1) for at in (self.x, self.y))
        crop = fine[:, :, y][..., x].float().div_(127.5).sub_(1)
        return F.avg_pool2d(crop, step)

    def place(self, config: Config) -> Tensor:
        """What D is told: how fine (0 to 1) and where the middle lies (-1 to 1), [3]; zeros for all of it."""
        if self.scale == 1:
            return torch.zeros(3)
        fine = config.generator.resolution * config.training.oversample
        x, y = ((2 * at + fine // self.scale) / fine - 1 for at in (self.x, self.y))
        return torch.tensor([math.log2(self.scale) / math.log2(config.generator.zoom), x, y])


def draw_views(config: Config) -> tuple[View, ...]:
    """The views of one step, each of an equal share of the batch, drawn from torch's generator.

    All of the picture, shifted by up to half a native pixel; with ``zoom`` also a crop.
    """
    oversample, zoom = config.training.oversample, config.generator.zoom
    reach = oversample // 2
    x, y = torch.randint(-reach, reach + 1, (2,)).tolist()
    whole = View(1, x, y)
    if zoom == 1:
        return (whole,)
    scale = 2 ** int(torch.randint(1, zoom.bit_length(), ()))
    fine = config.generator.resolution * oversample
    x, y = torch.randint(0, fine - fine // scale + 1, (2,)).tolist()
    return whole, View(scale, x, y)
