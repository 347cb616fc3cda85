"""Tokens to pixels, at any width and height: the SIRENs are sampled at the centres of the pixels asked for.

Pixel (x, y) of a W x H image lies at ((x + 1/2) / W, (y + 1/2) / H) of the picture, in the patch whose
cell of the grid holds that point, and is painted there. Nothing is resized, so any aspect and any size
are drawn the same way; a size that is no multiple of the grid gives patches of unequal pixel counts.

Every choice here (tiles, order, padding) depends on the resolution alone, never on the batch: an
image is the same to the bit, whatever it is drawn with.

B batch, g side of the grid, M = B g patches of one row of the grid, P pixels of a piece of a patch,
S width of the painter.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from model.generator import Generator
from model.sampling import quantise
from model.siren import Siren

STRIP_PIXELS = 65_536  # of one image: what a strip holds at most (a single row may be wider)
TILE_PIXELS = 4_096  # of one image: what the painter holds at once, so that it stays in the cache


@dataclass(frozen=True)
class Axis:
    """One axis of an image, cut by the grid's cells at pixel centres."""

    starts: tuple[int, ...]  # first pixel of each cell, and the end: g + 1
    widest: int  # most pixels of a cell
    positions: Tensor  # [g, widest] in -1..1; a narrower cell's last entries lie beyond its edge

    @classmethod
    def cut(cls, pixels: int, grid: int) -> Axis:
        """Pixel x lies in cell floor((x + 1/2) g / pixels); whole numbers until the last division."""
        starts = tuple(-(-(2 * pixels * cell - grid) // (2 * grid)) for cell in range(grid + 1))
        widest = max(b - a for a, b in itertools.pairwise(starts))
        first = torch.tensor(starts[:-1])[:, None]  # [g, 1]
        cell = torch.arange(grid)[:, None]  # [g, 1]
        doubled = (2 * (first + torch.arange(widest)) + 1) * grid - 2 * pixels * cell  # [g, widest]
        return cls(starts, widest, (doubled.double() / pixels - 1).float())


def render(generator: Generator, tokens: Tensor, width: int, height: int) -> Tensor:
    """Tokens [B, L, D] to whole images [B, height, width, 3] uint8."""
    return torch.cat(list(strips(generator, tokens, width, height)), dim=1)


@torch.inference_mode()
def strips(generator: Generator, tokens: Tensor, width: int, height: int) -> Iterator[Tensor]:
    """The same, from top to bottom in strips [B, rows, width, 3] uint8, in memory bounded by a strip."""
    grid, batch = generator.config.grid, len(tokens)
    columns, rows = Axis.cut(width, grid), Axis.cut(height, grid)
    painter = Painter(generator.siren, batch * grid, max(1, TILE_PIXELS // grid))
    step = max(1, STRIP_PIXELS // width)
    for row in range(grid):
        top, bottom = rows.starts[row], rows.starts[row + 1]
        if top == bottom:
            continue
        painter.load(tokens[:, row * grid : (row + 1) * grid].flatten(0, 1))
        for y in range(top, bottom, step):
            v_y = rows.positions[row, y - top : min(y + step, bottom) - top]
            yield _strip(painter, columns, v_y, batch)


def _strip(painter: Painter, columns: Axis, v_y: Tensor, batch: int) -> Tensor:
    """Some rows of one row of patches, for all images: [B, rows, W, 3]."""
    grid, widest = columns.positions.shape
    v = torch.stack(
        (
            columns.positions[:, None].expand(-1, len(v_y), -1),
            v_y[None, :, None].expand(grid, -1, widest),
        ),
        dim=-1,
    ).flatten(1, 2)  # [g, rows * widest, 2]
    if bool((columns.positions == columns.positions[0]).all()):
        v = v[:1]  # all patches of the row share their positions, and so the sines of E_fou
    rgb = painter.paint(v)  # [M, rows * widest, 3]
    strip = rgb.view(batch, grid, len(v_y), widest, 3).transpose(1, 2).flatten(2, 3)  # [B, rows, g widest, 3]
    counts = [b - a for a, b in itertools.pairwise(columns.starts)]
    if min(counts) == widest:
        return strip
    kept = [cell * widest + x for cell, count in enumerate(counts) for x in range(count)]
    return strip[:, :, torch.tensor(kept)]


class Painter:
    """The SIRENs of M patches with their styles folded into the weights, and buffers to paint with."""

    def __init__(self, siren: Siren, patches: int, piece: int) -> None:
        self.siren, self.patches, self.piece = siren, patches, piece
        self.layers: list[tuple[Tensor, Tensor]] = []
        width = siren.rgb.weight.shape[1]
        self.buffers = [torch.empty(patches * piece * width) for _ in range(2)]

    def load(self, y: Tensor) -> None:
        """Folds the embeddings [M, D] of other patches into the weights."""
        layers = [*self.siren.hidden, self.siren.rgb]
        self.layers = [(layer.fold(y), layer.bias) for layer in layers]

    def paint(self, v: Tensor) -> Tensor:
        """Positions [M or g or 1, N, 2] to colours [M, N, 3] uint8, a piece of N at a time."""
        pieces = [self._piece(part) for part in torch.split(v, self.piece, dim=1)]
        return pieces[0] if len(pieces) == 1 else torch.cat(pieces, dim=1)

    def _piece(self, v: Tensor) -> Tensor:
        x = self.siren.embed(v)  # [g or 1, P, F]
        x = x.repeat(self.patches // len(x), 1, 1)  # [M, P, F]
        for (weight, bias), buffer in zip(self.layers[:-1], self.buffers, strict=True):
            size = (self.patches, x.shape[1], weight.shape[-1])
            out = buffer[: size[0] * size[1] * size[2]].view(size)
            x = torch.baddbmm(bias, x, weight, out=out).sin_()  # [M, P, S]
        weight, bias = self.layers[-1]
        return quantise(torch.baddbmm(bias, x, weight))  # [M, P, 3]
