from __future__ import annotations

import numpy as np
import pytest
import torch

from model.generator import Generator
from model.sampling import grid_image, latent, latents, native_pictures, quantise, sample_tokens


@pytest.mark.parametrize("seed", [0, 1, 12345, 2**32 - 1])
def test_a_latent_is_numpys_for_that_seed(seed: int) -> None:
    expected = np.random.RandomState(seed).randn(8).astype(np.float32)
    assert np.array_equal(latent(seed, 8).numpy(), expected)


def test_latents_are_stacked_in_order() -> None:
    assert torch.equal(latents([5, 3], 8), torch.stack((latent(5, 8), latent(3, 8))))


# Of 19 and 33 rows MKL on AVX2 computes the last ones by other kernels.
@pytest.mark.parametrize("batch", [2, 7, 16, 19, 33])
def test_tokens_are_the_same_to_the_bit_in_any_batch(served: Generator, batch: int) -> None:
    seeds = [(k * 7919) % 2**32 for k in range(batch)]
    psi = [(k % 4) / 3 for k in range(batch)]
    together = sample_tokens(served, seeds, psi)
    assert together.shape == (batch, 64, 96)
    for n in {0, 1, batch // 2, batch - 1}:
        assert torch.equal(sample_tokens(served, [seeds[n]], [psi[n]])[0], together[n])


def test_truncation_0_gives_one_picture_and_1_changes_nothing(served: Generator) -> None:
    mean = sample_tokens(served, [1, 2], [0.0, 0.0])
    torch.testing.assert_close(mean[0], mean[1])
    full = sample_tokens(served, [1, 2], [1.0, 1.0])
    assert (full[0] - full[1]).abs().max() > 0.1
    torch.testing.assert_close(full, served.tokens(served.mapping(latents([1, 2], 128))))


def test_quantise_is_the_inverse_of_scaling_to_one() -> None:
    levels = torch.arange(256)
    assert torch.equal(quantise(levels / 127.5 - 1), levels.to(torch.uint8))


def test_quantise_rounds_to_the_nearest_and_clamps() -> None:
    values = torch.tensor([-9, -1.001, (100.4 / 127.5) - 1, (100.6 / 127.5) - 1, 1.001, 9])
    assert quantise(values).tolist() == [0, 0, 100, 101, 255, 255]


def test_native_pictures_are_clamped_and_independent_of_the_batch(generator: Generator) -> None:
    generator.siren.rgb.weight *= 20
    pictures = native_pictures(generator, range(7), batch=3)
    assert pictures.shape == (7, 3, 16, 16)
    assert pictures.min() == -1
    assert pictures.max() == 1
    torch.testing.assert_close(pictures, native_pictures(generator, range(7)), atol=1e-4, rtol=0)


def test_a_grid_lays_pictures_out_row_by_row() -> None:
    shades = [-1, -0.5, 0, 0.5, 0.8]
    pictures = torch.tensor(shades)[:, None, None, None].expand(-1, 3, 2, 2)
    sheet = np.asarray(grid_image(pictures, columns=3, zoom=2))
    assert sheet.shape == (8, 12, 3)
    cells = [*quantise(torch.tensor(shades)).tolist(), 255]  # the empty cell is white
    for n, shade in enumerate(cells):
        row, column = divmod(n, 3)
        assert (sheet[4 * row : 4 * row + 4, 4 * column : 4 * column + 4] == shade).all()


def test_a_grid_keeps_pictures_upright() -> None:
    picture = torch.full((1, 3, 4, 4), -1.0)
    picture[0, 0, 0, 3] = 1  # red, at the top right
    assert grid_image(picture, columns=1).getpixel((3, 0)) == (255, 0, 0)
