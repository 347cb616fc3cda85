"""Tiles of patches painted by their SIRENs, many pixels each, in buffers that are made once.

Every matrix product here has a shape that follows from the image's size alone: the same cells, positions
and token give the same bits, whatever else is painted before, after or at the same time.

G patches painted together, P pixels of a tile, F features of a position, S width of the painter.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch
from torch import Tensor

from model.siren import ModulatedLinear, Siren

# A matrix product of fewer rows rounds in other ways on AMD's CPUs than on Intel's (MKL, held to AVX2).
RGB_ROWS = 4


@dataclass(frozen=True)
class Tile:
    """A rectangle of pixels of one patch: its cell, and the pixels' places in it."""

    cell: int  # row * g + column
    across: Tensor  # [w], -1..1 within the cell's borders
    down: Tensor  # [h]


@dataclass(frozen=True)
class Modulation:
    """What the SIRENs of one picture's patches are scaled by, layer by layer."""

    styles: tuple[Tensor, ...]  # [L, in] each
    demodulations: tuple[Tensor | None, ...]  # [L, out] each

    @classmethod
    def of(cls, siren: Siren, tokens: Tensor, level: float) -> Modulation:
        """From the tokens [L, D] of one picture: alone, so that its bits depend on no other's."""
        layers = [*siren.hidden, siren.rgb]
        styles = [layer.styles(tokens, level) for layer in layers]
        return cls(
            tuple(styles),
            tuple(
                layer.demodulation(style) if layer.demodulate else None
                for layer, style in zip(layers, styles, strict=True)
            ),
        )


class Painter:
    """Paints tiles; for one thread at a time."""

    def __init__(self, siren: Siren) -> None:
        self.siren = siren
        self.layers: list[ModulatedLinear] = [*siren.hidden, siren.rgb]
        self._buffers: dict[str, Tensor] = {}
        self._placed: tuple[Tensor, Tensor] | None = None  # where the embedded pixels lie
        self._embedded: Tensor = siren.fourier.new_empty(0)

    def paint(self, tiles: Sequence[Tile], pictures: Sequence[Modulation]) -> Tensor:
        """Colours [B, G, 3, h, w], about -1..1, of the same G tiles in B pictures."""
        across = torch.stack([tile.across for tile in tiles])  # [G, w]
        down = torch.stack([tile.down for tile in tiles])  # [G, h]
        x = self._embed(across, down)  # [G, F, P]
        cells = torch.tensor([tile.cell for tile in tiles])
        size = (len(tiles), RGB_ROWS, down.shape[1], across.shape[1])
        painted = self.siren.fourier.new_empty(len(pictures), *size)
        for out, picture in zip(painted, pictures, strict=True):
            self._paint(x, picture, cells, out.flatten(2))
        return painted[:, :, :3]

    def _paint(self, x: Tensor, picture: Modulation, cells: Tensor, out: Tensor) -> None:
        """Features [G, F, P] through one picture's SIRENs to colours, into [G, 4, P]."""
        for index, layer in enumerate(self.layers):
            weight = self._folded(index, picture, cells)  # [G, S, F], at last [G, 4, S]
            last = layer is self.siren.rgb
            shape = (len(x), len(layer.weight), x.shape[-1])
            into = out if last else self._buffer(f"activation {index}", shape)
            x = torch.bmm(weight, x, out=into)  # [G, S, P]
            x[:, : len(layer.bias)] += layer.bias[:, None]
            if not last:
                x.sin_()

    def _embed(self, across: Tensor, down: Tensor) -> Tensor:
        """E_fou(v) = sin(W v) of all pixels of G tiles: [G, F, P]. Tiles of other cells often lie alike."""
        placed = self._placed
        if placed is None or not (_same(placed[0], across) and _same(placed[1], down)):
            count, width = across.shape
            height = down.shape[1]
            v = self._buffer("position", (count, 2, height, width))
            v[:, 0], v[:, 1] = across[:, None, :], down[:, :, None]
            self._placed = None  # until all is computed: what is stopped in between leaves nothing stale
            self._embedded = self._buffer("feature", (count, len(self.siren.fourier), height * width))
            weight = self.siren.fourier.expand(count, -1, -1)
            torch.bmm(weight, v.flatten(2), out=self._embedded).sin_()
            self._placed = (across, down)
        return self._embedded

    def _folded(self, index: int, picture: Modulation, cells: Tensor) -> Tensor:
        """w'_ij = s_i w_ij, divided by its norm if demodulated, of G patches: [G, out, in].

        The colours' weights have ``RGB_ROWS`` rows, the last one of zeros.
        """
        layer, style = self.layers[index], picture.styles[index][cells]  # [G, in]
        rows, columns = layer.weight.shape
        padded = RGB_ROWS if layer is self.siren.rgb else rows
        weight = self._buffer(f"weight {index}", (len(cells), padded, columns))
        weight[:, rows:] = 0
        torch.mul(layer.weight, style[:, None], out=weight[:, :rows])
        demodulation = picture.demodulations[index]
        return weight if demodulation is None else weight.mul_(demodulation[cells][:, :, None])

    def _buffer(self, name: str, shape: tuple[int, ...]) -> Tensor:
        """Memory of that shape, the same each time that the name comes back: fresh memory is slow."""
        size = math.prod(shape)
        buffer = self._buffers.get(name)
        if buffer is None or len(buffer) < size:
            buffer = self._buffers[name] = self.siren.fourier.new_empty(size)
        return buffer[:size].view(shape)


def _same(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and torch.equal(a, b)


class Crew:
    """Threads that share the tiles of one large image, each with a painter of its own.

    Tiles are small, so one thread a tile beats many threads an operation: set PyTorch's own threads to
    one. Batches of small images are painted by the thread that asks, as several may ask at once.
    """

    def __init__(self, threads: int = 1) -> None:
        self.threads = threads
        self._pool = ThreadPoolExecutor(threads, "paint")
        self._own = threading.local()

    def paint(
        self, siren: Siren, groups: Sequence[Sequence[Tile]], pictures: Sequence[Modulation]
    ) -> Iterator[Tensor]:
        """Each group's colours [B, G, 3, h, w], in their order."""
        if self.threads == 1 or len(groups) < self.threads or len(pictures) > 1:
            yield from self._share(siren, groups, pictures)
            return
        share = -(-len(groups) // self.threads)
        parts = [groups[at : at + share] for at in range(0, len(groups), share)]
        for painted in self._pool.map(lambda part: list(self._share(siren, part, pictures)), parts):
            yield from painted

    def _share(
        self, siren: Siren, groups: Sequence[Sequence[Tile]], pictures: Sequence[Modulation]
    ) -> Iterator[Tensor]:
        painter: Painter | None = getattr(self._own, "painter", None)
        if painter is None or painter.siren is not siren:
            painter = self._own.painter = Painter(siren)
        with torch.inference_mode():
            for group in groups:
                yield painter.paint(group, pictures)
