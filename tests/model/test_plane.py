from __future__ import annotations

from fractions import Fraction

import pytest
import torch

from model.config import GeneratorConfig
from model.plane import Axis, Pixels, Window, pixel_level
from tests.model import naive

# Some of each: fewer pixels than cells, odd multiples, divisible, larger than a tile.
CUTS = [(p, g) for p in (1, 2, 3, 5, 7, 8, 16, 31, 64, 100, 333) for g in (1, 2, 4, 5, 8)]
CUTS += [(2049, 8), (8192, 8)]


@pytest.mark.parametrize(("count", "grid"), CUTS)
@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5])
def test_a_cell_reaches_the_pixels_whose_centres_are_near_it(count: int, grid: int, overlap: float) -> None:
    axis = Axis(Pixels.of(count), grid, overlap)
    past = Fraction(overlap)
    centres = [Fraction(2 * x + 1, 2 * count) * grid for x in range(count)]
    reached = {reach.cell: range(reach.start, reach.stop) for reach in axis.reaches}
    for cell in range(grid):
        low = cell - past if cell else 0
        high = cell + 1 + past if cell < grid - 1 else grid
        assert list(reached.get(cell, [])) == [x for x, u in enumerate(centres) if low <= u < high]
    assert axis.widest == max(len(pixels) for pixels in reached.values())
    for reach, padded in zip(axis.reaches, axis.padded_places, strict=True):
        expected = [float(2 * (centres[x] - reach.cell) - 1) for x in reached[reach.cell]]
        assert padded[: len(expected)].tolist() == pytest.approx(expected, abs=1.2e-7)
        assert torch.equal(axis.places(reach, reach.start, reach.stop), padded[: len(expected)])


@pytest.mark.parametrize(("count", "grid"), CUTS)
@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5])
def test_weights_are_a_partition_of_unity(count: int, grid: int, overlap: float) -> None:
    axis = Axis(Pixels.of(count), grid, overlap)
    total = torch.zeros(count)
    for reach in axis.reaches:
        weights = axis.weights(reach, reach.start, reach.stop)
        centres = [(x + 0.5) * grid / count for x in range(reach.start, reach.stop)]
        expected = [naive.share(u, reach.cell, grid, overlap) for u in centres]
        assert weights.tolist() == pytest.approx(expected, abs=1e-6)
        total[reach.start : reach.stop] += weights
    torch.testing.assert_close(total, torch.ones(count))
    torch.testing.assert_close(axis.stitching.sum(0), torch.ones(count))


def test_stitching_puts_each_cells_pixels_in_their_places() -> None:
    axis = Axis(Pixels.of(10), 4, 0.25)
    painted = torch.randn(len(axis.reaches), axis.widest)
    expected = torch.zeros(10)
    for row, reach in zip(painted, axis.reaches, strict=True):
        for own, pixel in enumerate(range(reach.start, reach.stop)):
            expected[pixel] += row[own] * axis.weights(reach, pixel, pixel + 1)[0]
    torch.testing.assert_close(painted.flatten() @ axis.stitching, expected)


def test_a_crop_knows_only_the_cells_that_reach_it() -> None:
    """Pixels 40 to 48 of 64 on a grid of 8, reach 2 pixels: cell 5, and the ends of 4 and 6."""
    axis = Axis(Pixels(8, first=2 * 40 + 1, step=2, whole=128), 8, 0.25)
    assert [(r.cell, r.start, r.stop) for r in axis.reaches] == [(4, 0, 2), (5, 0, 8), (6, 6, 8)]
    whole = Axis(Pixels.of(64), 8, 0.25)
    crop, same = axis.reaches[1], whole.reaches[5]
    assert torch.equal(axis.places(crop, 0, 8), whole.places(same, 40, 48))
    assert torch.equal(axis.weights(crop, 0, 8), whole.weights(same, 40, 48))


@pytest.mark.parametrize(
    ("size", "level"),
    [((32, 32), 0), ((64, 64), 1), ((256, 64), 1), ((256, 256), 3), ((65_536, 4096), 3), ((8, 500), 0)],
)
def test_the_level_is_that_of_the_coarser_axis_as_far_as_it_was_learned(
    size: tuple[int, int], level: float
) -> None:
    config = GeneratorConfig(resolution=32, zoom=8)
    assert pixel_level(*size, config) == level
    assert Window.whole(*size, config).level == level
    assert pixel_level(*size, GeneratorConfig(resolution=32)) == 0
