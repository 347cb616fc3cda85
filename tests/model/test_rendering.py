from __future__ import annotations

import random
import subprocess
import sys
from itertools import pairwise, product
from pathlib import Path

import numpy as np
import pytest
import torch

from model import rendering
from model.generator import Generator
from model.painter import Crew
from model.plane import Window
from model.rendering import STRIP_PIXELS, Frame, Region, Span, render, strip_rows, strips
from model.sampling import latents, sample_tokens
from tests.model import naive

KINDS = pytest.mark.parametrize("kind", ["generator", "blended", "placed"])


@pytest.fixture
def painter(kind: str, request: pytest.FixtureRequest) -> Generator:
    """Patches side by side, or overlapping and told of the level; with contrast, some pixels clamped."""
    generator: Generator = request.getfixturevalue(kind)
    generator.siren.rgb.weight *= 3
    return generator


def as_bytes(painted: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(painted * 127.5 + 127.5), 0, 255)


@KINDS
@pytest.mark.parametrize(
    ("width", "height", "level"), [(33, 20, 0.322), (16, 16, 0), (40, 90, 1.322), (70, 66, 2)]
)
def test_a_pixel_is_its_patches_sirens_at_its_own_place(
    painter: Generator, width: int, height: int, level: float
) -> None:
    tokens = torch.randn(2, 16, 16)
    images = render(painter, tokens, width, height)
    assert images.shape == (2, height, width, 3)
    assert images.dtype == torch.uint8
    for image, patches in zip(images, tokens, strict=True):
        painted = naive.picture(painter, naive.array(patches), (width, height), level=level)
        assert np.abs(naive.array(image) - as_bytes(painted)).max() <= 1


@KINDS
@pytest.mark.parametrize(
    ("width", "height", "over"), [(5, 3, (4, 6)), (1, 1, (16, 16)), (2, 90, (8, 1)), (15, 16, (2, 1))]
)
def test_below_the_native_size_a_pixel_is_the_mean_of_finer_ones(
    painter: Generator, width: int, height: int, over: tuple[int, int]
) -> None:
    tokens = torch.randn(1, 16, 16)
    fine = (width * over[0], height * over[1])
    level = max(0.0, float(np.log2(min(fine) / 16)))
    painted = naive.picture(painter, naive.array(tokens[0]), fine, level=level)
    means = painted.reshape(height, over[1], width, over[0], 3).mean((1, 3))
    assert np.abs(naive.array(render(painter, tokens, width, height)[0]) - as_bytes(means)).max() <= 1


def test_without_demodulation_pixels_are_painted_so_too(generator: Generator) -> None:
    for layer in generator.siren.hidden:
        layer.demodulate = False
    tokens = torch.randn(1, 16, 16)
    token, image = naive.array(tokens[0, 0]), render(generator, tokens, 40, 40)[0]
    v = np.array([[(2 * x + 1) / 10 - 1, -0.9] for x in range(10)])
    expected = naive.siren(generator.siren, token, v, demodulate=False)
    assert np.abs(naive.array(image[0, :10]) - as_bytes(expected)).max() <= 1


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


def test_training_and_rendering_paint_alike_above_it(blended: Generator) -> None:
    tokens = torch.randn(2, 16, 16)
    trained = blended.paint(tokens, Window.whole(100, 70, blended.config)).permute(0, 2, 3, 1)
    assert (render(blended, tokens, 100, 70) - (trained * 127.5 + 127.5).clamp(0, 255)).abs().max() <= 1


SIZES = [(16, 16), (1, 1), (7, 5), (3, 40), (64, 64), (100, 37), (300, 3), (256, 256), (1000, 90)]


@KINDS
@pytest.mark.parametrize(("width", "height"), SIZES)
def test_an_image_is_the_same_to_the_bit_in_any_batch(painter: Generator, width: int, height: int) -> None:
    tokens = torch.randn(21, 16, 16)
    alone = {n: render(painter, tokens[n : n + 1], width, height)[0] for n in (0, 1, 20)}
    for batch in (2, 5, 21):
        together = render(painter, tokens[-batch:], width, height)
        for n, image in alone.items():
            if n >= 21 - batch:
                assert torch.equal(together[n - 21 + batch], image)


@KINDS
@pytest.mark.parametrize(("width", "height"), SIZES)
def test_a_region_is_that_part_of_the_whole_to_the_bit(painter: Generator, width: int, height: int) -> None:
    tokens, dice = torch.randn(3, 16, 16), random.Random(width * height)
    whole = render(painter, tokens, width, height)
    for _ in range(12):
        x, y = dice.randrange(width), dice.randrange(height)
        w, h = dice.randint(1, width - x), dice.randint(1, height - y)
        batch = slice(dice.randrange(3), 3)
        part = render(painter, tokens[batch], width, height, Region(x, y, w, h))
        assert torch.equal(part, whole[batch, y : y + h, x : x + w])


@KINDS
def test_the_whole_is_the_mosaic_of_its_parts(painter: Generator) -> None:
    tokens = torch.randn(1, 16, 16)
    whole = render(painter, tokens, 130, 77)[0]
    xs, ys = (0, 1, 50, 51, 129, 130), (0, 30, 76, 77)
    rows = []
    for top, bottom in pairwise(ys):
        regions = [Region(a, top, b - a, bottom - top) for a, b in pairwise(xs)]
        rows.append(torch.cat([render(painter, tokens, 130, 77, region)[0] for region in regions], dim=1))
    assert torch.equal(torch.cat(rows), whole)


@pytest.mark.parametrize(("left", "top"), [(0, 0), (8191, 8191), (40_000, 123), (65_500, 65_520)])
def test_a_region_of_the_largest_image_is_where_it_says(blended: Generator, left: int, top: int) -> None:
    tokens = torch.randn(1, 16, 16)
    part = render(blended, tokens, 65_536, 65_536, Region(left, top, 7, 5))[0]
    xs, ys = ([(at + i + 0.5) / 65_536 for i in range(n)] for at, n in ((left, 7), (top, 5)))
    expected = naive.sampled(blended, naive.array(tokens[0]), xs, ys, level=2)
    assert np.abs(naive.array(part) - as_bytes(expected)).max() <= 1
    overlapping = render(blended, tokens, 65_536, 65_536, Region(max(left - 3, 0), max(top - 2, 0), 10, 7))[0]
    shared = overlapping[min(top, 2) :, min(left, 3) :][:5, :7]
    assert torch.equal(shared, part[: len(shared), : shared.shape[1]])


SERVED = [(32, 32, 17), (1, 1, 17), (8, 8, 40), (64, 64, 9), (256, 256, 3), (333, 200, 2)]


@pytest.mark.parametrize(("width", "height", "batch"), SERVED)
def test_the_served_shape_too_is_the_same_in_any_batch(
    served: Generator, width: int, height: int, batch: int
) -> None:
    tokens = sample_tokens(served, range(batch), [1.0] * batch)
    together = render(served, tokens, width, height)
    assert torch.equal(render(served, tokens[:1], width, height)[0], together[0])
    assert torch.equal(render(served, tokens[-1:], width, height)[0], together[-1])
    corner = Region(width // 2, height // 3, width - width // 2, height - height // 3)
    assert torch.equal(render(served, tokens[:2], width, height, corner),
                       together[:2, corner.y :, corner.x :])  # fmt: skip


@pytest.mark.parametrize(("width", "height"), [(512, 300), (333, 200), (32, 32)])
def test_a_crew_of_threads_paints_the_same_to_the_bit(served: Generator, width: int, height: int) -> None:
    tokens = sample_tokens(served, [7], [1.0])
    crew = list(strips(served, tokens, Frame.of(width, height), crew=Crew(3)))
    assert torch.equal(torch.cat(crew, dim=1), render(served, tokens, width, height))


ELSEWHERE = """
import sys, torch
from model.presets import preset
from model.generator import Generator
from model.rendering import Region, render
from model.sampling import sample_tokens
torch.set_num_threads(int(sys.argv[1]))
torch.manual_seed(0)
generator = Generator(preset("vitgan-ti-32").generator).eval().requires_grad_(False)
generator.measure_w_mean()
tokens = sample_tokens(generator, [9, 7], [0.5, 1.0])
sys.stdout.buffer.write(render(generator, tokens[1:], 300, 200, Region(90, 40, 130, 99)).numpy().tobytes())
"""


@pytest.mark.parametrize("threads", ["1", "2"])
def test_another_process_paints_the_same_to_the_bit(served: Generator, threads: str) -> None:
    whole = render(served, sample_tokens(served, [7], [1.0]), 300, 200)
    run = subprocess.run(
        [sys.executable, "-c", ELSEWHERE, threads], cwd=Path.cwd(), capture_output=True, check=True
    )
    assert run.stdout == whole[:, 40:139, 90:220].contiguous().numpy().tobytes()


@pytest.mark.parametrize(("width", "height"), [(700, 600), (70_000, 5), (3, 30_000), (9, 2)])
def test_a_strip_is_bounded(generator: Generator, width: int, height: int) -> None:
    parts = list(strips(generator, torch.randn(1, 16, 16), Frame.of(width, height)))
    for part in parts:
        assert part.shape[2] == width
        assert part.shape[1] == 1 or part.shape[1] * width <= STRIP_PIXELS
    assert sum(part.shape[1] for part in parts) == height


@KINDS
def test_strips_of_any_height_are_the_whole_to_the_bit(
    painter: Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = torch.randn(2, 16, 16)
    whole = render(painter, tokens, 50, 70)
    for pixels in (1, 150, 233, 999):
        monkeypatch.setattr(rendering, "STRIP_PIXELS", pixels)
        parts = list(strips(painter, tokens, Frame.of(50, 70)))
        assert parts[0].shape[1] == max(1, pixels // 50)
        assert torch.equal(torch.cat(parts, dim=1), whole)


@pytest.mark.parametrize("first", [1, 3, 8])
def test_a_drawing_goes_on_at_any_strip(
    blended: Generator, monkeypatch: pytest.MonkeyPatch, first: int
) -> None:
    monkeypatch.setattr(rendering, "STRIP_PIXELS", 400)
    tokens = torch.randn(1, 16, 16)
    rest = torch.cat(list(strips(blended, tokens, Frame.of(50, 70), first=first)), dim=1)
    assert torch.equal(rest, render(blended, tokens, 50, 70)[:, first * strip_rows(50) :])


def test_what_is_behind_is_forgotten(blended: Generator) -> None:
    """Of a tall image no more bands are kept than the rows in hand need."""
    drawing = rendering.Drawing(blended, torch.randn(1, 16, 16), Frame.of(64, 4000), Crew())
    most = 0
    for top in range(0, 4000, 50):
        drawing.rows(top, top + 50)
        most = max(most, len(drawing._bands))
    assert most <= 2
    assert not drawing._bands


def test_a_token_paints_exactly_its_cell_of_an_uneven_grid(generator: Generator) -> None:
    tokens = torch.randn(1, 16, 16)
    before = render(generator, tokens, 30, 21)
    for row, column in product(range(4), range(4)):
        other = tokens.clone()
        other[0, 4 * row + column] += 3
        ys, xs = (render(generator, other, 30, 21) != before)[0].any(2).nonzero().T.tolist()
        assert {(2 * y + 1) * 4 // 42 for y in ys} == {row}
        assert {(2 * x + 1) * 4 // 60 for x in xs} == {column}


def test_overlapping_patches_leave_no_edge_where_they_meet(blended: Generator) -> None:
    """Steps across borders are like those beside them; of patches side by side they are many times larger."""
    tokens, side = torch.randn(4, 16, 16), 512
    shared = {"overlap": 0.0, "zoom": 4}
    hard = Generator(type(blended.config)(**(vars(blended.config) | shared))).eval().requires_grad_(False)
    hard.load_state_dict(blended.state_dict())
    found = {}
    for name, generator in (("hard", hard), ("blended", blended)):
        window = Window.whole(side, side, generator.config)
        steps = generator.paint(tokens, window).diff(dim=3).abs().mean((0, 1, 2))
        borders = torch.tensor([side // 4 * cell - 1 for cell in (1, 2, 3)])
        found[name] = float(steps[borders].mean() / (steps[borders - 1] + steps[borders + 1]).mean() * 2)
    assert found["blended"] == pytest.approx(1, abs=0.02)
    assert found["hard"] > 5


@pytest.mark.parametrize("kind", ["blended"])
@pytest.mark.parametrize(
    ("x", "length", "count", "whole"),
    [(512, 256, 64, 256), (768, 256, 256, 1024), (0, 1024, 100, 100), (960, 64, 8, 128)],
)
def test_a_scaled_part_is_cut_from_the_image_of_that_scale(
    painter: Generator, x: int, length: int, count: int, whole: int
) -> None:
    tokens = torch.randn(1, 16, 16)
    span = Span.scaled(1024, x, length, count)
    part = torch.cat(list(strips(painter, tokens, Frame(span, span))), dim=1)
    at = x * count // length
    assert torch.equal(part, render(painter, tokens, whole, whole)[:, at : at + count, at : at + count])


@pytest.mark.parametrize("kind", ["blended"])
@pytest.mark.parametrize(("x", "length", "count"), [(7, 333, 100), (1000, 24, 7), (3, 500, 2), (0, 1023, 64)])
def test_a_part_at_an_odd_scale_is_sampled_where_it_lies(
    painter: Generator, x: int, length: int, count: int
) -> None:
    tokens, density = torch.randn(1, 16, 16), 1024 * count / length
    span, other = Span.scaled(1024, x, length, count), Span.scaled(1024, 0, 1024, 128)
    part = torch.cat(list(strips(painter, tokens, Frame(span, other))), dim=1)
    over = int(np.ceil(16 / density))
    xs = [(x + length * (i + 0.5) / (count * over)) / 1024 for i in range(count * over)]
    ys = [(i + 0.5) / 128 for i in range(128)]
    level = min(max(float(np.log2(min(density * over, 128) / 16)), 0), 2)
    painted = naive.sampled(painter, naive.array(tokens[0]), xs, ys, level=level)
    means = painted.reshape(128, count, over, 3).mean(2)
    assert np.abs(naive.array(part[0]) - as_bytes(means)).max() <= 1
