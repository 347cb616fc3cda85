from __future__ import annotations

import math
from collections.abc import Callable
from itertools import product

import numpy as np
import pytest
import torch
from torch import Tensor

from model.evaluation.evaluate import blurred, unit
from model.evaluation.swd import (
    QUICK_PATCHES,
    descriptors,
    laplacian_pyramid,
    quick_distance,
    sliced_wasserstein,
    swd,
)
from model.generator import Generator
from model.sampling import native_pictures

BINOMIAL = np.outer([1, 4, 6, 4, 1], [1, 4, 6, 4, 1]) / 256


def filtered(plane: np.ndarray) -> np.ndarray:
    """The binomial filter pixel by pixel, mirrored at the border."""
    padded, out = np.pad(plane, 2, mode="reflect"), np.empty_like(plane)
    for y, x in product(range(plane.shape[0]), range(plane.shape[1])):
        out[y, x] = (padded[y : y + 5, x : x + 5] * BINOMIAL).sum()
    return out


def test_the_bands_add_up_to_the_picture() -> None:
    picture = torch.rand(1, 3, 64, 64, dtype=torch.float64)
    bands = laplacian_pyramid(picture)
    assert [band.shape[-1] for band in bands] == [64, 32, 16]
    for channel in range(3):
        plane = bands[-1][0, channel].numpy()
        for band in reversed(bands[:-1]):
            wide = np.zeros((2 * len(plane), 2 * len(plane)))
            wide[::2, ::2] = plane
            plane = band[0, channel].numpy() + 4 * filtered(wide)
        np.testing.assert_allclose(plane, picture[0, channel].numpy(), atol=1e-12)


def test_the_coarse_band_is_every_second_pixel_of_the_filtered_picture() -> None:
    picture = torch.rand(1, 3, 32, 32, dtype=torch.float64)
    expected = filtered(picture[0, 1].numpy())[::2, ::2]
    np.testing.assert_allclose(laplacian_pyramid(picture)[-1][0, 1].numpy(), expected, atol=1e-12)


def test_a_plain_picture_has_an_empty_fine_band() -> None:
    fine, coarse = laplacian_pyramid(torch.full((1, 3, 32, 32), 0.3))
    torch.testing.assert_close(fine, torch.zeros_like(fine), atol=1e-6, rtol=0)
    torch.testing.assert_close(coarse, torch.full_like(coarse, 0.3))


def test_on_a_line_the_distance_is_that_of_sorted_values() -> None:
    a, b = torch.randn(50, 1), 2 * torch.randn(50, 1) + 1
    pairs = zip(sorted(a.flatten().tolist()), sorted(b.flatten().tolist()), strict=True)
    expected = sum(abs(x - y) for x, y in pairs) / 50
    assert sliced_wasserstein(a, b) == pytest.approx(expected, rel=1e-5)


def test_a_set_moved_in_the_plane_is_as_far_as_the_mean_projection_of_the_move() -> None:
    a = torch.randn(20, 2)
    move = torch.tensor([3.0, -4.0])  # |cos| is 2 / pi on average
    assert sliced_wasserstein(a, a + move, directions=8192) == pytest.approx(5 * 2 / math.pi, rel=0.02)


def test_the_order_of_a_set_does_not_matter() -> None:
    a = torch.randn(40, 5)
    assert sliced_wasserstein(a, a[torch.randperm(40)]) == pytest.approx(0, abs=1e-6)


def test_descriptors_are_neighbourhoods_at_many_places_with_mean_0_and_deviation_1() -> None:
    y, x = torch.meshgrid(torch.arange(24.0), torch.arange(24.0), indexing="ij")
    picture = torch.stack((x, y, x + 5 * y)).expand(9, -1, -1, -1)
    found = descriptors(picture, patches=64, seed=0)
    assert list(found) == [24]  # half of it would be less than the coarsest band
    rows = found[24].view(576, 3, 7, 7)
    torch.testing.assert_close(rows.mean((0, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(rows.std((0, 2, 3)), torch.ones(3))
    step = rows[0, 0, 0, 1] - rows[0, 0, 0, 0]
    torch.testing.assert_close(rows[:, 0].diff(dim=2), step.expand(576, 7, 6))  # x rises along each row
    assert (rows[:, 1].diff(dim=2) == 0).all()  # y does not
    assert (rows[:, 1].diff(dim=1) > 0).all()
    assert len(set(rows[:, 0, 0, 0].tolist())) == 18  # all places from 0 to 24 - 7


def test_descriptors_do_not_depend_on_how_many_pictures_are_split_at_once(
    monkeypatch: pytest.MonkeyPatch, drawn: Callable[..., Tensor]
) -> None:
    pictures = unit(drawn(10))
    whole = descriptors(pictures, patches=4, seed=0)
    monkeypatch.setattr("model.evaluation.swd.BATCH", 5)
    parts = descriptors(pictures, patches=4, seed=0)
    assert [found.shape for found in parts.values()] == [found.shape for found in whole.values()]
    assert list(parts) == [32, 16]


def test_equal_sets_have_no_distance_at_any_band(drawn: Callable[..., Tensor]) -> None:
    pictures = unit(drawn(16, side=64))
    assert swd(pictures, pictures.clone()) == {64: 0.0, 32: 0.0, 16: 0.0}


def test_more_noise_and_more_blur_are_farther_at_the_fine_band(drawn: Callable[..., Tensor]) -> None:
    reals, others = unit(drawn(64, seed=1)), unit(drawn(64, seed=2))
    noise = torch.randn(others.shape)
    noisy = [swd(others + level * noise, reals)[32] for level in (0, 0.1, 0.3)]
    assert noisy == sorted(noisy)
    assert noisy[2] > 1.5 * noisy[0]
    soft = [swd(blurred(others, sigma), reals)[32] for sigma in (0.25, 1, 2)]
    assert soft == sorted(soft)
    assert soft[2] > 1.5 * soft[0]


def test_sets_of_different_sizes_and_pictures_too_small_are_refused() -> None:
    with pytest.raises(ValueError, match="same shape"):
        swd(torch.zeros(4, 3, 16, 16), torch.zeros(5, 3, 16, 16))
    with pytest.raises(ValueError, match="pictures of 6 pixels: give 7 or more"):
        swd(torch.zeros(4, 3, 6, 6), torch.zeros(4, 3, 6, 6))


def test_the_quick_distance_is_0_for_the_generators_own_pictures_alone(
    generator: Generator, drawn: Callable[..., Tensor]
) -> None:
    assert quick_distance(generator, native_pictures(generator, range(24))) == 0
    reals = unit(drawn(24, side=16))
    assert quick_distance(generator, reals) == quick_distance(generator, reals) > 10


def test_the_quick_distance_is_the_mean_over_the_bands_of_the_first_reals(
    drawn: Callable[..., Tensor], served: Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("model.evaluation.swd.QUICK_PICTURES", 8)
    reals = unit(drawn(12))
    bands = swd(native_pictures(served, range(8)), reals[:8], patches=QUICK_PATCHES)
    assert quick_distance(served, reals) == pytest.approx((bands[32] + bands[16]) / 2)
