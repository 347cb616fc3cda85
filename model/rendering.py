"""Tokens to pixels, at any width and height: the SIRENs are sampled at the centres of the pixels asked for.

Pixel (x, y) of a W x H image lies at ((x + 1/2) / W, (y + 1/2) / H) of the picture, in the patch whose
cell of the grid holds that point, and is painted there. Nothing is resized, so any aspect and any size
are drawn the same way; a size that is no multiple of the grid gives patches of unequal pixel counts.

Every choice here (tiles, order, padding) depends on the resolution alone, never on the batch: an
image is the same to the bit, whatever it is drawn with.

B batch, g side of the grid, M patches painted together (a row of the grid, of one or more images),
P pixels of a piece of a patch, F features of a position, S width of the painter.
"""

from __future__ import annotations

import itertools
import math
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch
from torch import Tensor

from model.generator import Generator
from model.sampling import quantise
from model.siren import ModulatedLinear, Siren

STRIP_PIXELS = 65_536  # of one image: what a strip holds at most (a single row may be wider)
TILE_PIXELS = 4_096  # painted at once: activations and weights of so many stay in the cache


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


def strips(
    generator: Generator, tokens: Tensor, width: int, height: int, crew: Crew | None = None
) -> Iterator[Tensor]:
    """The same, from top to bottom in strips [B, rows, width, 3] uint8, in memory bounded by a strip.

    A ``crew`` paints a strip's tiles side by side; the pixels are the same with any.
    """
    grid = generator.config.grid
    columns, rows = Axis.cut(width, grid), Axis.cut(height, grid)
    step = max(1, STRIP_PIXELS // width)
    # Images painted together: as many as fill a tile with one strip of each.
    group = max(1, TILE_PIXELS // (grid * columns.widest * min(step, rows.widest)))
    piece = max(1, TILE_PIXELS // (group * grid))  # pixels of a patch that are painted at once
    for row in range(grid):
        row_tokens = tokens[:, row * grid : (row + 1) * grid]  # [B, g, D]
        groups = [torch.flatten(part, 0, 1) for part in torch.split(row_tokens, group)]  # [M, D] each
        top, bottom = rows.starts[row], rows.starts[row + 1]
        for y in range(top, bottom, step):
            v = _positions(columns, rows.positions[row, y - top : min(y + step, bottom) - top])
            pieces = torch.split(v.flatten(2), piece, dim=2)
            painted = (crew or Crew(1)).paint(generator.siren, groups, pieces)  # [B g, 3, rows widest]
            yield _stitch(torch.unflatten(painted, 2, v.shape[2:]), columns)


def _positions(columns: Axis, v_y: Tensor) -> Tensor:
    """Where the pixels of some rows lie in each patch they cross: (x, y) [g or 1, 2, rows, widest]."""
    v_x = columns.positions
    if bool((v_x == v_x[0]).all()):
        v_x = v_x[:1]  # all patches share their positions, and so the sines of E_fou
    shape = (len(v_x), len(v_y), columns.widest)
    return torch.stack((v_x[:, None].expand(shape), v_y[None, :, None].expand(shape)), dim=1)


def _stitch(painted: Tensor, columns: Axis) -> Tensor:
    """Patches of one row [B g, 3, rows, widest] side by side: [B, rows, W, 3]."""
    grid = len(columns.positions)
    strip = (
        torch.unflatten(painted, 0, (-1, grid)).permute(0, 3, 1, 4, 2).flatten(2, 3)
    )  # [B, rows, g widest, 3]
    counts = [b - a for a, b in itertools.pairwise(columns.starts)]
    if min(counts) == columns.widest:
        return strip
    kept = [cell * columns.widest + x for cell, count in enumerate(counts) for x in range(count)]
    return strip[:, :, torch.tensor(kept)]


class Crew:
    """Threads that share the tiles of one large image, each with buffers of its own.

    Tiles are small, so one thread a tile beats many threads an operation: set PyTorch's own threads to
    one. Batches of small images are painted by the thread that asks, as several may ask at once.
    """

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._pool = ThreadPoolExecutor(threads, "paint")
        self._own = threading.local()

    def paint(self, siren: Siren, groups: Sequence[Tensor], pieces: Sequence[Tensor]) -> Tensor:
        """Embeddings [M, D] of groups and positions [g or 1, 2, P] of pieces to [B g, 3, N] uint8."""
        if len(groups) > 1 or len(pieces) == 1 or self.threads == 1:
            return torch.cat([self._work((siren, y, pieces)) for y in groups])
        share = -(-len(pieces) // self.threads)
        tasks = [(siren, groups[0], pieces[i : i + share]) for i in range(0, len(pieces), share)]
        return torch.cat(list(self._pool.map(self._work, tasks)), dim=2)

    @torch.inference_mode()
    def _work(self, task: tuple[Siren, Tensor, Sequence[Tensor]]) -> Tensor:
        siren, y, pieces = task
        painter: Painter | None = getattr(self._own, "painter", None)
        if painter is None or painter.siren is not siren:
            painter = self._own.painter = Painter(siren)
        return painter.paint(y, pieces)


class Painter:
    """Paints tiles in buffers that are made once: fresh memory costs more than the sines."""

    def __init__(self, siren: Siren) -> None:
        self.siren = siren
        self.layers: list[ModulatedLinear] = [*siren.hidden, siren.rgb]
        self._buffers: dict[str, Tensor] = {}

    def paint(self, y: Tensor, pieces: Sequence[Tensor]) -> Tensor:
        """Embeddings [M, D] and positions [g or 1, 2, P], piece by piece, to colours [M, 3, N] uint8."""
        folded = [
            layer.fold(y, out=self._buffer(f"weight {index}", (len(y), *layer.weight.shape)))
            for index, layer in enumerate(self.layers)
        ]
        return torch.cat([self._piece(v, folded) for v in pieces], dim=2)

    def _piece(self, v: Tensor, folded: list[Tensor]) -> Tensor:
        """Positions [g or 1, 2, P] to colours [M, 3, P] uint8."""
        patches = len(folded[0])
        x = torch.sin(self.siren.fourier @ v)  # E_fou(v) = sin(W v) [g or 1, F, P]
        if 1 < len(x) < patches:
            x = x.repeat(patches // len(x), 1, 1)  # [M, F, P]
        for index, (layer, weight) in enumerate(zip(self.layers, folded, strict=True)):
            out = self._buffer(f"activation {index}", (patches, len(layer.weight), v.shape[-1]))
            if len(x) == 1:
                torch.mm(weight.flatten(0, 1), x[0], out=out.flatten(0, 1))
            else:
                torch.bmm(weight, x, out=out)
            x = out.add_(layer.bias[:, None])  # [M, S, P]; at last [M, 3, P]
            if layer is not self.siren.rgb:
                x.sin_()
        return quantise(x)

    def _buffer(self, name: str, shape: tuple[int, ...]) -> Tensor:
        """Memory of that shape, the same each time that the name comes back."""
        size = math.prod(shape)
        buffer = self._buffers.get(name)
        if buffer is None or len(buffer) < size:
            buffer = self._buffers[name] = self.siren.fourier.new_empty(size)
        return buffer[:size].view(shape)
