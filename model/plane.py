"""Where pixels lie in the picture, and which cells of the grid paint them.

A picture is the square [0, 1]^2 (stretched, if its width and height differ), cut into g x g cells, one a
patch. A cell reaches past its borders by ``overlap`` of its side; where cells overlap, a pixel is the sum of
their colours with weights that sum to 1, a partition of unity:

    picture(u) = sum_c weight_c(u) siren_c(u),    weight_c = S((u - c) / overlap) S((c + 1 - u) / overlap)

along each axis, u in cells, with S(d) = (1 + d) / 2 rising from 0 at d = -1 to 1 at d = 1, so that
S(d) + S(-d) = 1 (an overlap of 1/2 is LIIF's local ensemble, Chen et al. 2021). Colours are continuous at
every border, and where neighbours disagree the step between them is spread evenly over the overlap; without
overlap S is a step itself.

g cells a side, n pixels at most that a cell reaches.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import torch
from torch import Tensor

from model.config import GeneratorConfig


@dataclass(frozen=True)
class Pixels:
    """Pixels of one axis, evenly spaced: the centre of pixel i lies at (first + i step) / whole of it.

    Whole numbers, so that what is said of a pixel is exact at any size.
    """

    count: int
    first: int
    step: int
    whole: int

    @classmethod
    def of(cls, count: int) -> Pixels:
        """All pixels of a side ``count`` long, sampled at their centres (i + 1/2) / count."""
        return cls(count, first=1, step=2, whole=2 * count)

    @property
    def density(self) -> Fraction:
        """So many pixels would fill the side."""
        return Fraction(self.whole, self.step)

    def refined(self, over: int) -> Pixels:
        """Each pixel's ``over`` equal parts, as pixels."""
        first = 2 * over * self.first - over * self.step + self.step
        return Pixels(self.count * over, first, 2 * self.step, 2 * over * self.whole)


@dataclass(frozen=True)
class Reach:
    """What one cell paints of an axis: pixels start to stop."""

    cell: int
    start: int
    stop: int


class Axis:
    """One axis: the cells that reach its pixels, the pixels' places in them and their weights."""

    def __init__(self, pixels: Pixels, grid: int, overlap: float, coordinates: str = "patch") -> None:
        self.pixels, self.grid, self.overlap, self.coordinates = pixels, grid, overlap, coordinates
        past = Fraction(overlap)
        reaches = [
            Reach(
                cell,
                self._index(cell - past) if cell else 0,
                self._index(cell + 1 + past) if cell < grid - 1 else pixels.count,
            )
            for cell in range(grid)
        ]
        self.reaches = [reach for reach in reaches if reach.start < reach.stop]
        self.widest = max(reach.stop - reach.start for reach in self.reaches)

    def _index(self, border: Fraction) -> int:
        """The first pixel whose centre lies at ``border`` (in cells) or beyond, within the axis."""
        pixels = self.pixels
        index = math.ceil((border * pixels.whole / self.grid - pixels.first) / pixels.step)
        return min(max(index, 0), pixels.count)

    @classmethod
    def of(cls, pixels: Pixels, config: GeneratorConfig) -> Axis:
        """The axis of those pixels, as that generator paints it."""
        return cls(pixels, config.grid, config.overlap, config.coordinates)

    def places(self, reach: Reach, start: int, stop: int) -> Tensor:
        """Where pixels start to stop lie for a cell's painter, in half cells: [stop - start] float32.

        Counted from the middle of the cell, -1 and 1 its borders, or from the middle of the picture.
        """
        middle = self.grid if self.coordinates == "picture" else 2 * reach.cell + 1
        return self._distances(middle, start, stop).float()

    def _distances(self, middle: int, start: int, stop: int) -> Tensor:
        """From a point, given in half cells, to pixels start to stop: [stop - start] float64."""
        pixels = self.pixels
        doubled = (pixels.first + torch.arange(start, stop) * pixels.step) * (2 * self.grid)
        return (doubled - middle * pixels.whole).double() / pixels.whole

    def weights(self, reach: Reach, start: int, stop: int) -> Tensor:
        """The cell's share in pixels start to stop: [stop - start] float32; 1 where it alone paints."""
        v = self._distances(2 * reach.cell + 1, start, stop)
        left = self._rise(v + 1) if reach.cell else torch.ones_like(v)
        right = self._rise(1 - v) if reach.cell < self.grid - 1 else torch.ones_like(v)
        return (left * right).float()

    def _rise(self, distance: Tensor) -> Tensor:
        """S of a distance from a border, in half cells."""
        if not self.overlap:
            return (distance >= 0).double()
        return (1 + distance / (2 * self.overlap)).clamp(0, 2) / 2

    @cached_property
    def padded_places(self) -> Tensor:
        """The places of all cells' pixels, [cells, n]; a narrower cell's last ones lie beyond its reach."""
        return torch.stack([self.places(r, r.start, r.start + self.widest) for r in self.reaches])

    @cached_property
    def stitching(self) -> Tensor:
        """All weights as one matrix from cells' pixels to the axis: [cells n, pixels]."""
        matrix = torch.zeros(len(self.reaches), self.widest, self.pixels.count)
        for index, reach in enumerate(self.reaches):
            count = reach.stop - reach.start
            own = torch.arange(count)
            matrix[index, own, reach.start + own] = self.weights(reach, reach.start, reach.stop)
        return matrix.flatten(0, 1)


@dataclass(frozen=True)
class Window:
    """A rectangle of pixels of a picture, and how fine they are."""

    columns: Axis
    rows: Axis
    level: float  # log2 of how much finer than native size, as far as the painters have learned it

    @classmethod
    def whole(cls, width: int, height: int, config: GeneratorConfig) -> Window:
        """All of a picture of that size, sampled at the pixels' centres."""
        columns, rows = (Axis.of(Pixels.of(side), config) for side in (width, height))
        return cls(columns, rows, pixel_level(width, height, config))


def pixel_level(width: float, height: float, config: GeneratorConfig) -> float:
    """How much finer than native size pixels are, as a power of two from 0 to log2 zoom.

    The coarser axis counts: it is the one that would alias.
    """
    finer = min(width, height) / config.resolution
    return min(max(math.log2(finer), 0.0), math.log2(config.zoom))
