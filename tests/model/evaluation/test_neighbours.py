from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from model.evaluation.evaluate import unit
from model.evaluation.features import features
from model.evaluation.neighbours import neighbours_image
from model.sampling import quantise


def nearest(samples: Tensor, others: Tensor, k: int) -> list[list[int]]:
    """The k nearest of each sample, by loops."""
    found = []
    for one in samples.flatten(1).double():
        distances = [float((one - other).norm()) for other in others.flatten(1).double()]
        found.append(sorted(range(len(distances)), key=lambda n, d=distances: d[n])[:k])  # type: ignore[misc]
    return found


def test_each_row_shows_the_sample_and_its_nearest_by_features_and_by_pixels(
    drawn: Callable[..., Tensor],
) -> None:
    training = drawn(30, seed=1)
    samples = unit(drawn(3, seed=2))
    samples[0] = unit(training[17])  # a copy is its own nearest neighbour
    k, batches = 2, torch.split(unit(training), 7)
    sheet = np.asarray(neighbours_image(samples, batches, k))
    by_features = nearest(features(samples), features(unit(training)), k)
    by_pixels = nearest(samples, unit(training), k)
    assert by_features != by_pixels
    assert by_features[0][0] == by_pixels[0][0] == 17

    white = np.full((3, 32, 32), 255, np.uint8)
    for row, sample in enumerate(samples):
        shown = [quantise(sample.clone()).numpy(), white]
        shown += [*training[by_features[row]].numpy(), white, *training[by_pixels[row]].numpy()]
        for column, expected in enumerate(shown):
            cell = sheet[64 * row : 64 * row + 64 : 2, 64 * column : 64 * column + 64 : 2]
            assert np.array_equal(cell.transpose(2, 0, 1), expected), (row, column)


def test_fewer_training_pictures_than_neighbours_are_all_shown(drawn: Callable[..., Tensor]) -> None:
    pictures = unit(drawn(3))
    assert neighbours_image(pictures[:1], [pictures]).width == 64 * (1 + 1 + 3 + 1 + 3)
