"""All measures of a generator, each beside three reference points of the same counts.

A distance alone says little: the other half of the training pictures shows the best that so many pictures
allow, blurred pictures and uniform noise show how bad is bad.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from model.evaluation.features import features
from model.evaluation.frechet import frechet_distance
from model.evaluation.inception import Inception, InceptionMissingError
from model.evaluation.precision_recall import K, precision_recall
from model.evaluation.swd import swd
from model.generator import Generator
from model.sampling import native_pictures, quantise

BLUR_SIGMA = 2.0  # pixels
DIGITS = 4  # significant ones that are reported: more would be noise


@dataclass(frozen=True)
class Report:
    """What was measured; ``rows`` maps each set of pictures to its measures by name."""

    resolution: int
    count: int  # pictures of each set
    seed: int
    rows: dict[str, dict[str, float]]
    notes: tuple[str, ...] = ()  # what was left out, and why


def evaluate(generator: Generator, reals: Tensor, count: int, seed: int = 0, *, fid: bool = False) -> Report:
    """Measures seeds 0..n - 1 at truncation 1 against n of the reals [N, 3, r, r], uint8 or in -1..1.

    n is ``count``, or N / 2 if that is less: the other half of the reals is a reference point. ``seed``
    decides the split, the noise and SWD's places. With ``fid`` also FID and KID, if they can be had.
    The same arguments give the same report. Raises ``ValueError`` if n is too small or sides differ.
    """
    resolution = generator.config.resolution
    if reals.shape[-1] != resolution:
        raise ValueError(f"reals of {reals.shape[-1]} px: give the generator's side, {resolution} px")
    chosen = reals[split(len(reals), count, seed)]
    reference, other = (chosen if chosen.dtype == torch.uint8 else quantise(chosen)).chunk(2)
    sets = {
        "model": quantise(native_pictures(generator, range(len(reference)))),
        "other_half": other,
        "blurred": quantise(blurred(unit(other))),
        "noise": _noise(other, seed),
    }
    rows = _against(reference, sets, seed)
    notes: tuple[str, ...] = ()
    if fid:
        try:
            inception = Inception(reference, seed)
            rows = {name: rows[name] | inception.measures(pictures) for name, pictures in sets.items()}
        except InceptionMissingError as error:
            notes = (str(error),)
    rounded = {
        name: {key: float(f"{value:.{DIGITS}g}") for key, value in row.items()} for name, row in rows.items()
    }
    return Report(resolution, len(reference), seed, rounded, notes)


def split(total: int, count: int, seed: int) -> Tensor:
    """Indices of two sets of ``count`` out of ``total`` pictures, or of all in two halves: [2 n].

    Raises ``ValueError`` if a set is too small for every measure.
    """
    n = min(count, total // 2)
    if n <= K:
        raise ValueError(f"count is {count}, of {total} pictures: give {K + 1} or more, of twice as many")
    return torch.randperm(total, generator=torch.Generator().manual_seed(seed))[: 2 * n]


def unit(pictures: Tensor) -> Tensor:
    """0..255 to -1..1."""
    return pictures.float().div_(127.5).sub_(1)


def blurred(pictures: Tensor, sigma: float = BLUR_SIGMA) -> Tensor:
    """Pictures [N, 3, r, r] under a Gaussian of ``sigma`` pixels, their borders repeated."""
    reach = round(3 * sigma)
    line = torch.exp(-torch.arange(-reach, reach + 1).square() / (2 * sigma**2))
    line = (line / line.sum()).expand(pictures.shape[1], 1, 1, -1)
    padded = F.pad(pictures, (reach,) * 4, mode="replicate")
    across = F.conv2d(padded, line, groups=pictures.shape[1])
    return F.conv2d(across, line.mT, groups=pictures.shape[1])


def _noise(like: Tensor, seed: int) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, like.shape, generator=draw, dtype=torch.uint8)


def _against(reference: Tensor, sets: dict[str, Tensor], seed: int) -> dict[str, dict[str, float]]:
    """The measures that need no download, of each set of pictures [n, 3, r, r] uint8."""
    real_pictures = unit(reference)
    real_features = features(real_pictures)
    rows = {}
    for name, pictures in sets.items():
        scaled = unit(pictures)
        bands = swd(scaled, real_pictures, seed=seed)
        vectors = features(scaled)
        precision, recall = precision_recall(real_features, vectors)
        rows[name] = {
            **{f"swd_{side}": distance for side, distance in bands.items()},
            "swd": sum(bands.values()) / len(bands),
            "fcd": frechet_distance(real_features, vectors),
            "precision": precision,
            "recall": recall,
        }
    return rows
