from __future__ import annotations

from fractions import Fraction
from itertools import product

import numpy as np
import pytest
import torch
from torch import Tensor

from model.generator import Generator, cell_centres
from model.layers import SelfModulatedLayerNorm
from model.views import View
from tests.model import naive


def pixels(picture: Tensor) -> np.ndarray:
    """[3, height, width] to [height, width, 3]."""
    return naive.array(picture).transpose(1, 2, 0)


def test_style_enters_only_through_sln(generator: Generator) -> None:
    z = torch.randn(4, 8)
    assert (generator(z)[0] - generator(z)[1]).abs().mean() > 1e-3
    for module in generator.modules():
        if isinstance(module, SelfModulatedLayerNorm):
            module.gamma.weight.zero_()
            module.beta.weight.zero_()
    torch.testing.assert_close(generator(z), generator(z[:1]).expand(4, -1, -1, -1))


def test_tokens_follow_the_papers_equations(generator: Generator) -> None:
    z = torch.randn(3, 8)
    expected = [naive.tokens(generator, naive.array(part)) for part in z]
    actual = naive.array(generator.tokens(generator.mapping(z)))
    assert actual == pytest.approx(np.stack(expected), abs=1e-4)


def test_padding_styles_make_no_tokens(generator: Generator) -> None:
    w = torch.randn(5, 16)
    assert generator.tokens(w, count=2).shape == (2, 16, 16)
    torch.testing.assert_close(generator.tokens(w, count=2), generator.tokens(w)[:2])


def test_the_length_of_z_does_not_matter(generator: Generator) -> None:
    z = torch.randn(3, 8)
    torch.testing.assert_close(generator.mapping(z), generator.mapping(5 * z))


@pytest.mark.parametrize("kind", ["generator", "blended", "placed"])
def test_a_picture_is_each_tokens_siren_at_the_pixel_centres(
    kind: str, request: pytest.FixtureRequest
) -> None:
    generator: Generator = request.getfixturevalue(kind)
    z = torch.randn(2, 8)
    for latent, picture in zip(z, generator(z), strict=True):
        expected = naive.picture(generator, naive.tokens(generator, naive.array(latent)), (16, 16))
        assert pixels(picture) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("view", [View(1, 8, 0), View(1, -4, 5), View(2, 3, 40), View(4, 96, 0)], ids=str)
@pytest.mark.parametrize("kind", ["generator", "blended", "placed"])
def test_a_window_is_painted_at_its_own_places(kind: str, view: View, request: pytest.FixtureRequest) -> None:
    """Against loops: shifted by parts of a pixel, cropped, blended where patches overlap."""
    generator: Generator = request.getfixturevalue(kind)
    oversample, z = 8, torch.randn(1, 8)
    step = oversample // view.scale  # fine pixels, of which the side has 16 * 8 = 128
    xs, ys = ([(at + step * (i + 0.5)) / 128 for i in range(16)] for at in (view.x, view.y))
    tokens = naive.tokens(generator, naive.array(z[0]))
    expected = naive.sampled(generator, tokens, xs, ys, level=np.log2(view.scale))
    painted = generator(z, [view.window(generator.config, oversample)])
    assert pixels(painted[0]) == pytest.approx(expected, abs=1e-4)
    assert not np.allclose(pixels(generator(z)[0]), expected, atol=1e-2)


def test_each_window_shows_its_share_of_the_batch(blended: Generator) -> None:
    z, views = torch.randn(6, 8), [View(), View(2, 4, 0)]
    windows = [view.window(blended.config, 4) for view in views]
    whole, crop = blended(z, windows).chunk(2)
    torch.testing.assert_close(whole, blended(z[:3]))
    torch.testing.assert_close(crop, blended(z[3:], windows[1:]))


@pytest.mark.parametrize(("row", "column"), [(0, 0), (1, 3), (3, 0), (2, 1)])
def test_a_token_paints_exactly_its_rectangle(
    generator: Generator, monkeypatch: pytest.MonkeyPatch, row: int, column: int
) -> None:
    tokens = torch.randn(1, 16, 16)
    monkeypatch.setattr(generator, "tokens", lambda w: tokens)
    before = generator(torch.zeros(1, 8))
    tokens[0, row * 4 + column] += 1
    changed = (generator(torch.zeros(1, 8)) != before)[0].any(0)
    rectangle = torch.zeros(16, 16, dtype=torch.bool)
    rectangle[4 * row : 4 * row + 4, 4 * column : 4 * column + 4] = True
    assert torch.equal(changed, rectangle)


@pytest.mark.parametrize("side", [1, 2, 5, 8])
def test_positions_are_cell_centres_row_by_row(side: int) -> None:
    line = [float(Fraction(2 * k + 1, side) - 1) for k in range(side)]
    expected = [[x, y] for y, x in product(line, line)]
    torch.testing.assert_close(cell_centres(side), torch.tensor(expected))


def test_the_same_latent_gives_the_same_picture_always(generator: Generator) -> None:
    z = torch.randn(2, 8)
    assert torch.equal(generator(z), generator(z))
    assert torch.equal(generator.train()(z), generator.eval()(z))


def test_no_parameter_is_made_in_forward(generator: Generator) -> None:
    before = list(generator.state_dict())
    generator(torch.randn(2, 8))
    assert list(generator.state_dict()) == before


def test_w_mean_is_the_mean_style(generator: Generator) -> None:
    generator.measure_w_mean()
    mean = generator.mapping(torch.randn(20_000, 8)).mean(0)
    assert mean.norm() > 0.1
    torch.testing.assert_close(generator.w_mean, mean, rtol=0, atol=0.1)
    measured = generator.w_mean.clone()
    generator.measure_w_mean()
    assert torch.equal(generator.w_mean, measured)


def test_truncation_moves_styles_toward_the_mean(generator: Generator) -> None:
    generator.measure_w_mean()
    w, mean = torch.randn(3, 16), generator.w_mean
    expected = torch.stack((mean, (mean + w[1]) / 2, w[2]))
    torch.testing.assert_close(generator.truncate(w, torch.tensor([0, 0.5, 1])), expected)
