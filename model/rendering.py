"""Tokens to pixels, at any width and height, whole or in part: SIRENs sampled where pixels are asked for.

Pixel (x, y) of a W x H image lies at ((x + 1/2) / W, (y + 1/2) / H) of the picture. Those cells of the grid
reach this point paint it, blended as model/plane.py says. Below the native size an image is painted at a
multiple of its size and averaged, so that nothing aliases; from there up the painters are told how fine its
pixels are.

A pixel's value depends on the picture (model, seed, truncation), W x H and its place alone. It is so by
construction: each cell is cut into tiles whose size follows from W x H, tiles are painted whole, one picture
at a time, and a region, strip or batch only chooses which of them are painted and when.

B batch, g side of the grid; "samples" are the points painted, one a pixel from the native size up.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

import torch
from torch import Tensor

from model.generator import Generator
from model.painter import Crew, Modulation, Tile
from model.plane import Axis, Pixels, Reach, pixel_level
from model.sampling import quantise

STRIP_PIXELS = 65_536  # what a strip holds at most (a single row may be wider)
TILE_SAMPLES = 4_096  # painted at once: activations and weights of so many stay in the cache
TILE_ROWS = 64
BAND_SAMPLES = 2**18  # of one row of tiles across the image: they wait for the row of cells below


@dataclass(frozen=True)
class Region:
    """A rectangle of pixels of the whole image."""

    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True)
class Span:
    """Pixels start to stop of an axis."""

    pixels: Pixels
    start: int
    stop: int

    @classmethod
    def scaled(cls, full: int, start: int, length: int, count: int) -> Span:
        """A part of a side of ``full`` pixels, in ``count`` pixels instead of its own ``length``.

        If the whole side had a whole number of pixels at this scale, and the part began at one of them,
        the part is cut from that image to the bit; else it is sampled where it lies.
        """
        side, at = (Fraction(value * count, length) for value in (full, start))
        if side.denominator == at.denominator == 1:
            return cls(Pixels.of(int(side)), int(at), int(at) + count)
        pixels = Pixels(count, 2 * start * count + length, 2 * length, 2 * full * count)
        return cls(pixels, 0, count)

    @property
    def count(self) -> int:
        """How many."""
        return self.stop - self.start


@dataclass(frozen=True)
class Frame:
    """A rectangle of pixels to draw."""

    columns: Span
    rows: Span

    @classmethod
    def of(cls, width: int, height: int, region: Region | None = None) -> Frame:
        """All of a ``width`` x ``height`` image, or a region of it."""
        region = region or Region(0, 0, width, height)
        return cls(
            Span(Pixels.of(width), region.x, region.x + region.width),
            Span(Pixels.of(height), region.y, region.y + region.height),
        )


@dataclass(frozen=True)
class Piece:
    """One axis of a tile: samples start to stop of the image, painted by one cell."""

    cell: int
    offset: int  # of start from where the cell's reach begins
    start: int
    stop: int
    places: Tensor  # [size], the ones from stop on painted for nothing
    weights: Tensor  # [stop - start]


class Cut:
    """One axis of an image, each cell's reach cut into pieces of one size."""

    def __init__(self, axis: Axis, most: int) -> None:
        self.axis = axis
        self.size = -(-axis.widest // -(-axis.widest // most))  # as even as can be

    def touching(self, first: int, last: int) -> Iterator[Piece]:
        """The pieces with samples in first to last."""
        for reach in self.axis.reaches:
            start, stop = max(first, reach.start) - reach.start, min(last, reach.stop) - reach.start
            for number in range(start // self.size, -(-stop // self.size) if start < stop else 0):
                yield self._piece(reach, number * self.size)

    def _piece(self, reach: Reach, offset: int) -> Piece:
        start = reach.start + offset
        stop = min(start + self.size, reach.stop)
        places = self.axis.places(reach, start, start + self.size)
        return Piece(reach.cell, offset, start, stop, places, self.axis.weights(reach, start, stop))


def render(
    generator: Generator, tokens: Tensor, width: int, height: int, region: Region | None = None
) -> Tensor:
    """Tokens [B, L, D] to images of ``width`` x ``height``, or a region of them: [B, h, w, 3] uint8."""
    return torch.cat(list(strips(generator, tokens, Frame.of(width, height, region))), dim=1)


def strips(
    generator: Generator, tokens: Tensor, frame: Frame, crew: Crew | None = None, first: int = 0
) -> Iterator[Tensor]:
    """A frame from top to bottom in strips [B, rows, w, 3] uint8, in memory bounded by a strip.

    A ``crew`` paints a strip's tiles side by side; ``first`` leaves out that many strips at the top. The
    pixels are the same with any.
    """
    drawing = Drawing(generator, tokens, frame, crew or Crew())
    rows = strip_rows(frame.columns.count)
    for top in range(first * rows, frame.rows.count, rows):
        yield drawing.rows(top, min(top + rows, frame.rows.count))


def strip_rows(width: int) -> int:
    """Rows of a strip so wide."""
    return max(1, STRIP_PIXELS // width)


class Drawing:
    """A frame of a batch of pictures, drawn row after row from the top down."""

    def __init__(self, generator: Generator, tokens: Tensor, frame: Frame, crew: Crew) -> None:
        config = generator.config
        self.siren, self.grid, self.crew, self.top = generator.siren, config.grid, crew, frame.rows.start
        # Below the native size: so many samples a pixel, across and down.
        spans = (frame.columns, frame.rows)
        self.over = tuple(math.ceil(config.resolution / span.pixels.density) for span in spans)
        columns, rows = (
            Axis.of(span.pixels.refined(over) if over > 1 else span.pixels, config)
            for span, over in zip(spans, self.over, strict=True)
        )
        tall = max(TILE_ROWS, TILE_SAMPLES // columns.widest)
        self.rows_cut = Cut(rows, max(1, min(tall, BAND_SAMPLES // columns.pixels.count)))
        self.columns_cut = Cut(columns, max(1, TILE_SAMPLES // self.rows_cut.size))
        tiles = max(1, TILE_SAMPLES // (self.rows_cut.size * self.columns_cut.size))
        groups = -(-(config.grid**2) // tiles)
        self.group = -(-(config.grid**2) // groups)  # tiles painted together
        self.left, self.right = (at * self.over[0] for at in (frame.columns.start, frame.columns.stop))
        self.columns = list(self.columns_cut.touching(self.left, self.right))
        with torch.inference_mode():
            across, down = (float(axis.pixels.density) for axis in (columns, rows))
            level = pixel_level(across, down, config)
            self.pictures = [Modulation.of(generator.siren, picture, level) for picture in tokens]
        self._bands: dict[tuple[int, int], Tensor] = {}  # (cell, first row) -> what its cells painted

    @torch.inference_mode()
    def rows(self, top: int, bottom: int) -> Tensor:
        """Rows top to bottom of the frame: [B, bottom - top, w, 3] uint8."""
        first, last = ((self.top + row) * self.over[1] for row in (top, bottom))
        pieces = list(self.rows_cut.touching(first, last))
        self._paint([piece for piece in pieces if (piece.cell, piece.start) not in self._bands])
        out = torch.zeros(len(self.pictures), 3, last - first, self.right - self.left)
        for piece in pieces:
            start, stop = max(first, piece.start), min(last, piece.stop)
            own = slice(start - piece.start, stop - piece.start)
            band = self._bands[piece.cell, piece.start]
            out[:, :, start - first : stop - first] += piece.weights[own, None] * band[:, :, own]
            if piece.stop <= last:
                del self._bands[piece.cell, piece.start]
        pixels = _averaged(_averaged(out, self.over[1], -2), self.over[0], -1)
        return quantise(pixels).permute(0, 2, 3, 1).contiguous()

    def _paint(self, bands: Sequence[Piece]) -> None:
        """Paints bands: for some rows of tiles, all that the cells of their row have in the region."""
        pairs = [(down, across) for down in bands for across in self.columns]
        # Tiles that lie alike in their cells follow each other: their features are computed once.
        pairs.sort(key=lambda pair: (pair[0].offset, pair[1].offset))
        tiles = [
            Tile(down.cell * self.grid + across.cell, across.places, down.places) for down, across in pairs
        ]
        for down in bands:
            self._bands[down.cell, down.start] = torch.zeros(
                len(self.pictures), 3, down.stop - down.start, self.right - self.left
            )
        spare = -len(tiles) % self.group  # the last group is filled up: products keep their shape
        tiles += tiles[:1] * spare
        groups = [tiles[at : at + self.group] for at in range(0, len(tiles), self.group)]
        painted = (
            tile for group in self.crew.paint(self.siren, groups, self.pictures) for tile in group.unbind(1)
        )
        for (down, across), colours in zip(pairs, painted, strict=False):
            start, stop = max(self.left, across.start), min(self.right, across.stop)
            own = slice(start - across.start, stop - across.start)
            band = self._bands[down.cell, down.start]
            shown = colours[:, :, : band.shape[2], own]
            band[..., start - self.left : stop - self.left] += across.weights[own] * shown


def _averaged(samples: Tensor, over: int, dim: int) -> Tensor:
    """Each so many samples along an axis to their mean, summed in a fixed order."""
    parts = [samples.narrow(dim, index, samples.shape[dim] - over + 1) for index in range(over)]
    every = (slice(None),) * (samples.dim() + dim) + (slice(None, None, over),)
    total = parts[0][every]
    for part in parts[1:]:
        total = total + part[every]
    return total / over if over > 1 else total
