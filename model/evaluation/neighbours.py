"""Samples beside the training pictures that are nearest to them: does the generator repeat what it saw?"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from PIL import Image
from torch import Tensor

from model.evaluation.features import features
from model.sampling import grid_image

NEIGHBOURS = 4


def neighbours_image(samples: Tensor, training: Iterable[Tensor], k: int = NEIGHBOURS) -> Image.Image:
    """A row for each sample: itself, its k nearest by features, its k nearest by pixels, nearest first.

    ``samples`` [S, 3, r, r] and the batches [B, 3, r, r] of all training pictures, once, are in -1..1.
    """
    by_features = _Nearest(features(samples), samples, k)
    by_pixels = _Nearest(samples.flatten(1), samples, k)
    for batch in training:
        by_features.offer(features(batch), batch)
        by_pixels.offer(batch.flatten(1), batch)
    gap = torch.ones_like(samples)[:, None]  # a white column
    rows = torch.cat((samples[:, None], gap, by_features.pictures, gap, by_pixels.pictures), 1)
    zoom = max(1, 64 // samples.shape[-1])
    return grid_image(rows.flatten(0, 1), columns=rows.shape[1], zoom=zoom)


class _Nearest:
    """The k pictures nearest to each of S samples, by their vectors, among all that were offered."""

    def __init__(self, vectors: Tensor, samples: Tensor, k: int) -> None:
        self.vectors, self.k = vectors, k  # [S, d]
        self.distances = vectors.new_empty(len(vectors), 0)  # [S, kept]
        self.pictures = samples.new_empty(len(samples), 0, *samples.shape[1:])  # [S, kept, 3, r, r]

    def offer(self, vectors: Tensor, pictures: Tensor) -> None:
        """Pictures [B, 3, r, r] and their vectors [B, d]."""
        near, index = self._least(torch.cdist(self.vectors, vectors))  # of the batch
        distances = torch.cat((self.distances, near), 1)
        candidates = torch.cat((self.pictures, pictures[index]), 1)
        self.distances, best = self._least(distances)
        self.pictures = candidates[torch.arange(len(best))[:, None], best]

    def _least(self, distances: Tensor) -> tuple[Tensor, Tensor]:
        values, index = distances.topk(min(self.k, distances.shape[1]), largest=False)
        return values, index
