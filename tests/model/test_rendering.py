from __future__ import annotations

from fractions import Fraction
from itertools import pairwise, product

import numpy as np
import pytest
import torch

from model import rendering
from model.generator import Generator
from model.rendering import STRIP_PIXELS, Axis, Crew, render, strips
from model.sampling import latents, sample_tokens
from tests.model import naive

# Some of each: fewer pixels than cells, odd multiples, divisible, larger than a tile.
CUTS = [(p, g) for p in (1, 2, 3, 5, 7, 8, 16, 31, 64, 100, 333) for g in (1, 2, 4, 5, 8)]
CUTS += [(2049, 8), (8192, 8)]


@pytest.mark.parametrize(("pixels", "grid"), CUTS)
def test_an_axis_is_cut_at_the_cells_of_pixel_centres(pixels: int, grid: int) -> None:
    axis = Axis.cut(pixels, grid)
    where: list[list[Fraction]] = [[] for _ in range(grid)]
    for x in range(pixels):
        at = Fraction(2 * x + 1, 2 * pixels) * grid
        where[int(at)].append(2 * (at - int(at)) - 1)
    counts = [len(cell) for cell in where]
    assert [b - a for a, b in pairwise(axis.starts)] == counts
    assert (axis.starts[0], axis.starts[-1]) == (0, pixels)
    assert axis.widest == max(counts)
    assert axis.positions.shape == (grid, axis.widest)
    for positions, cell in zip(axis.positions.tolist(), where, strict=True):
        expected = [float(v) for v in cell]
        assert positions[: len(cell)] == pytest.approx(expected, abs=1.2e-7)


@pytest.mark.parametrize(("width", "height"), [(333, 200), (5, 3), (1, 1), (16, 16), (2, 90)])
def test_a_pixel_is_its_patchs_siren_at_its_own_position(
    generator: Generator, width: int, height: int
) -> None:
    generator.siren.rgb.weight *= 3  # more contrast, with some pixels clamped
    tokens = torch.randn(2, 16, 16)
    images = render(generator, tokens, width, height)
    assert images.shape == (2, height, width, 3)
    assert images.dtype == torch.uint8
    for image, patches in zip(images, tokens, strict=True):
        painted = naive.picture(generator, naive.array(patches), (width, height))
        expected = np.clip(np.rint(painted * 127.5 + 127.5), 0, 255)
        assert np.abs(naive.array(image) - expected).max() <= 1


def test_without_demodulation_pixels_are_painted_so_too(generator: Generator) -> None:
    for layer in generator.siren.hidden:
        layer.demodulate = False
    tokens = torch.randn(1, 16, 16)
    token, image = naive.array(tokens[0, 0]), render(generator, tokens, 40, 40)[0]
    v = np.array([[(2 * x + 1) / 10 - 1, -0.9] for x in range(10)])
    expected = naive.siren(generator.siren, token, v, demodulate=False) * 127.5 + 127.5
    assert np.abs(naive.array(image[0, :10]) - np.clip(expected, 0, 255)).max() <= 1


@pytest.mark.parametrize("name", ["tiny", "vitgan-ti-32"])
def test_the_native_size_is_the_generators_own_picture(
    generator: Generator, served: Generator, name: str
) -> None:
    if name != "tiny":
        generator = served
    side, seeds = generator.config.resolution, range(5)
    native = generator(latents(seeds, generator.config.z_dim)).permute(0, 2, 3, 1)
    tokens = sample_tokens(generator, seeds, [1.0] * 5)
    rendered = render(generator, tokens, side, side)
    assert (rendered - (native * 127.5 + 127.5).clamp(0, 255)).abs().max() <= 1


SIZES = [(16, 16), (1, 1), (7, 5), (3, 40), (64, 64), (100, 37), (300, 3), (256, 256), (1000, 90)]


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_an_image_is_the_same_to_the_bit_in_any_batch(generator: Generator, width: int, height: int) -> None:
    tokens = torch.randn(21, 16, 16)
    alone = {n: render(generator, tokens[n : n + 1], width, height)[0] for n in (0, 1, 20)}
    for batch in (2, 5, 21):
        together = render(generator, tokens[-batch:], width, height)
        for n, image in alone.items():
            if n >= 21 - batch:
                assert torch.equal(together[n - 21 + batch], image)


SERVED = [(32, 32, 17), (1, 1, 17), (8, 8, 40), (64, 64, 9), (256, 256, 3), (333, 200, 2)]


@pytest.mark.parametrize(("width", "height", "batch"), SERVED)
def test_the_served_shape_too_is_the_same_in_any_batch(
    served: Generator, width: int, height: int, batch: int
) -> None:
    tokens = sample_tokens(served, range(batch), [1.0] * batch)
    together = render(served, tokens, width, height)
    assert torch.equal(render(served, tokens[:1], width, height)[0], together[0])
    assert torch.equal(render(served, tokens[-1:], width, height)[0], together[-1])


@pytest.mark.parametrize(("width", "height"), [(512, 300), (333, 200), (32, 32)])
def test_a_crew_of_threads_paints_the_same_to_the_bit(served: Generator, width: int, height: int) -> None:
    tokens = sample_tokens(served, [7], [1.0])
    crew = list(strips(served, tokens, width, height, Crew(3)))
    assert torch.equal(torch.cat(crew, dim=1), render(served, tokens, width, height))


@pytest.mark.parametrize(("width", "height"), [(700, 600), (70_000, 5), (3, 30_000), (9, 2)])
def test_a_strip_is_bounded(generator: Generator, width: int, height: int) -> None:
    parts = list(strips(generator, torch.randn(1, 16, 16), width, height))
    for part in parts:
        assert part.shape[2] == width
        assert part.shape[1] == 1 or part.shape[1] * width <= STRIP_PIXELS
    assert sum(part.shape[1] for part in parts) == height


def test_strips_together_are_the_whole(generator: Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = torch.randn(2, 16, 16)
    whole = render(generator, tokens, 50, 70)
    assert torch.equal(torch.cat(list(strips(generator, tokens, 50, 70)), dim=1), whole)
    monkeypatch.setattr(rendering, "STRIP_PIXELS", 200)
    parts = list(strips(generator, tokens, 50, 70))
    assert len(parts) > 70 / 4
    assert (torch.cat(parts, dim=1).int() - whole.int()).abs().max() <= 1


def test_a_token_paints_exactly_its_cell_of_an_uneven_grid(generator: Generator) -> None:
    tokens = torch.randn(1, 16, 16)
    before = render(generator, tokens, 30, 21)
    for row, column in product(range(4), range(4)):
        other = tokens.clone()
        other[0, 4 * row + column] += 3
        ys, xs = (render(generator, other, 30, 21) != before)[0].any(2).nonzero().T.tolist()
        assert {(2 * y + 1) * 4 // 42 for y in ys} == {row}
        assert {(2 * x + 1) * 4 // 60 for x in xs} == {column}
