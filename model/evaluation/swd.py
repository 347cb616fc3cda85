"""Sliced Wasserstein distance on Laplacian pyramids (Karras et al. 2018, *Progressive growing of GANs*).

Two sets of pictures are split into frequency bands; of each band 7 x 7 neighbourhoods are compared as
distributions. It needs no network, so it can be had anywhere; it sees texture and colour, not meaning.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from model.generator import Generator
from model.sampling import native_pictures

NEIGHBOURHOOD = 7  # pixels a side
COARSEST = 16  # side of the last band, as in the paper
BATCH = 256  # pictures split at once: bands of all at once would fill the memory
QUICK_PICTURES, QUICK_PATCHES = 256, 16


def quick_distance(generator: Generator, reals: Tensor) -> float:
    """Mean over the bands for the first ``QUICK_PICTURES`` reals [N, 3, r, r] in -1..1 and as many seeds.

    A training's compass: few neighbourhoods, and the same seeds and places each time. What it costs is in
    docs/evaluation.md.
    """
    some = reals[:QUICK_PICTURES].cpu()
    distances = swd(native_pictures(generator, range(len(some))), some, patches=QUICK_PATCHES)
    return sum(distances.values()) / len(distances)


def swd(a: Tensor, b: Tensor, patches: int = 64, seed: int = 0) -> dict[int, float]:
    """Distances x 1000 of two equally many pictures [N, 3, r, r] in -1..1, by the side of the band.

    ``patches`` neighbourhoods of each picture are compared. Raises ``ValueError`` if the sets differ in
    shape or the pictures are smaller than a neighbourhood.
    """
    pairs = zip(descriptors(a, patches, seed).items(), descriptors(b, patches, seed).values(), strict=True)
    return {side: 1000 * sliced_wasserstein(one, two, seed=seed) for (side, one), two in pairs}


def sliced_wasserstein(a: Tensor, b: Tensor, directions: int = 128, seed: int = 0) -> float:
    """Mean distance between two equally large sets [N, d], projected onto random unit directions.

    On a line the distance of two sets is the mean |a_(i) - b_(i)| of their sorted values.
    Raises ``ValueError`` if the sets differ in shape.
    """
    if a.shape != b.shape:
        raise ValueError(f"sets of shapes {tuple(a.shape)} and {tuple(b.shape)}: give two of the same shape")
    lines = torch.randn(directions, a.shape[1], generator=torch.Generator().manual_seed(seed))
    distances = [
        (_sorted(line @ a.T) - _sorted(line @ b.T)).abs().mean()  # [16, N] each
        for line in torch.split(F.normalize(lines).to(a.dtype), 16)
    ]
    return float(torch.stack(distances).mean())


def laplacian_pyramid(images: Tensor, coarsest: int = COARSEST) -> list[Tensor]:
    """Bands of pictures [N, 3, r, r], finest first, each half the size of the one before.

    band_i = x_i - up(down(x_i)), x_(i+1) = down(x_i); the last band is the rest (Burt and Adelson 1983).
    """
    bands = []
    while images.shape[-1] >= 2 * coarsest and images.shape[-1] % 2 == 0:
        smaller = _blur(images)[:, :, ::2, ::2]  # [N, 3, r/2, r/2]
        bands.append(images - _up(smaller))
        images = smaller
    return [*bands, images]


def descriptors(pictures: Tensor, patches: int, seed: int) -> dict[int, Tensor]:
    """Random neighbourhoods of each band, by the band's side: [N patches, 3 * 49].

    Each channel is brought to mean 0 and standard deviation 1 over the whole set, as in the paper.
    """
    if pictures.shape[-1] < NEIGHBOURHOOD:
        raise ValueError(f"pictures of {pictures.shape[-1]} pixels: give {NEIGHBOURHOOD} or more a side")
    draw = torch.Generator().manual_seed(seed)
    found: dict[int, list[Tensor]] = {}
    for part in torch.split(pictures, BATCH):
        for band in laplacian_pyramid(part):
            found.setdefault(band.shape[-1], []).append(_neighbourhoods(band, patches, draw))
    return {side: _standardised(torch.cat(parts)).flatten(1) for side, parts in found.items()}


def _neighbourhoods(band: Tensor, patches: int, draw: torch.Generator) -> Tensor:
    """So many of each picture [N, 3, s, s], at random places: [N patches, 3, 7, 7]."""
    count, _, side = band.shape[:3]
    corner = torch.randint(0, side - NEIGHBOURHOOD + 1, (2, count, patches, 1, 1), generator=draw)
    offset = torch.arange(NEIGHBOURHOOD)
    rows, columns = corner[0] + offset[:, None], corner[1] + offset  # [N, patches, 7, 1], [N, patches, 1, 7]
    found = band.permute(0, 2, 3, 1)[torch.arange(count)[:, None, None, None], rows, columns]
    return found.flatten(0, 1).permute(0, 3, 1, 2)


def _standardised(found: Tensor) -> Tensor:
    std, mean = torch.std_mean(found, (0, 2, 3), keepdim=True)
    return (found - mean) / std.clamp_min(1e-8)  # a band of one colour has no deviation


def _blur(images: Tensor, gain: float = 1.0) -> Tensor:
    """The 5 x 5 binomial filter, mirrored at the border."""
    line = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0], dtype=images.dtype) / 16
    kernel = (gain * line[:, None] * line).expand(images.shape[1], 1, 5, 5)
    return F.conv2d(F.pad(images, (2,) * 4, mode="reflect"), kernel, groups=images.shape[1])


def _up(images: Tensor) -> Tensor:
    """Twice the size: zeros between the pixels, then the filter."""
    count, channels, height, width = images.shape
    wide = images.new_zeros(count, channels, 2 * height, 2 * width)
    wide[:, :, ::2, ::2] = images
    return _blur(wide, gain=4.0)


def _sorted(values: Tensor) -> Tensor:
    return torch.from_numpy(np.sort(values.numpy()))  # three times as fast as torch's
