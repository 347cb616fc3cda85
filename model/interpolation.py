"""A walk from seed to seed: frames between them, evenly spaced.

Of n seeds a loop has n legs, back to the first; an open walk has n - 1, and ends on the last seed. A frame
that falls on a seed is that seed's picture to the bit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

import torch
from torch import Tensor

from model.generator import Generator
from model.sampling import latents, style_tokens, styles

NEARLY_ALONG = 1e-6  # radians between latents below which the sphere is as good as flat


def places(seeds: int, frames: int, loop: bool) -> list[Fraction]:
    """Where each frame lies on the walk, in legs: 0 the first seed, 1 the second."""
    if loop:
        return [Fraction(seeds * frame, frames) for frame in range(frames)]
    return [Fraction((seeds - 1) * frame, frames - 1) for frame in range(frames)]


def slerp(a: Tensor, b: Tensor, t: float) -> Tensor:
    """Along the great circle from a to b [Z], as Gaussian latents lie near a sphere (White 2016).

    sin((1 - t) omega) / sin(omega) a + sin(t omega) / sin(omega) b, omega the angle between them.
    """
    cosine = torch.dot(a, b) / (a.norm() * b.norm())
    omega = math.acos(min(max(cosine.item(), -1.0), 1.0))
    if math.sin(omega) < NEARLY_ALONG:
        return torch.lerp(a, b, t)
    return (math.sin((1 - t) * omega) * a + math.sin(t * omega) * b) / math.sin(omega)


class Walk:
    """The walk's styles, frame by frame.

    ``space``: "z", along great circles between latents; "w", straight lines between styles, truncated after.
    """

    def __init__(
        self,
        generator: Generator,
        seeds: Sequence[int],
        frames: int,
        space: str,
        loop: bool,
        truncation: float,
    ) -> None:
        self.generator, self.space, self.truncation = generator, space, truncation
        self.places = places(len(seeds), frames, loop)
        z = latents(seeds, generator.config.z_dim)
        self.stops = z.double() if space == "z" else styles(generator, z).double()  # [n, Z or D]

    def tokens(self, first: int, last: int) -> Tensor:
        """Of frames first to last: [last - first, L, D]; the same bits however frames are grouped."""
        between = torch.stack([self._at(place) for place in self.places[first:last]]).float()
        w = styles(self.generator, between) if self.space == "z" else between
        return style_tokens(self.generator, w, [self.truncation] * len(w))

    def _at(self, place: Fraction) -> Tensor:
        leg, t = int(place), float(place % 1)
        start = self.stops[leg]
        if t == 0:
            return start
        end = self.stops[(leg + 1) % len(self.stops)]
        return slerp(start, end, t) if self.space == "z" else torch.lerp(start, end, t)
