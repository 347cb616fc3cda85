from __future__ import annotations

from collections.abc import Callable
from itertools import product

import pytest
import torch
from torch import Tensor

from model.augment import augment, colour, cutout, translate

SIDE = 16


def images(batch: int) -> Tensor:
    """Pictures without a zero and without two pixels alike."""
    return torch.rand(batch, 3, SIDE, SIDE, dtype=torch.double) + 0.1


def moved(image: Tensor, dy: int, dx: int) -> Tensor:
    """Pixel (y, x) takes what stood at (y + dy, x + dx); zeros come in."""
    out = torch.zeros_like(image)
    for y, x in product(range(SIDE), range(SIDE)):
        if 0 <= y + dy < SIDE and 0 <= x + dx < SIDE:
            out[:, y, x] = image[:, y + dy, x + dx]
    return out


def holed(image: Tensor, top: int, left: int) -> Tensor:
    """Pixels of the square of half the side at (top, left) are zero."""
    out = image.clone()
    for y, x in product(range(SIDE), range(SIDE)):
        if top <= y < top + SIDE // 2 and left <= x < left + SIDE // 2:
            out[:, y, x] = 0
    return out


def test_translation_moves_by_whole_pixels_up_to_an_eighth() -> None:
    image = images(1)
    candidates = {move: moved(image[0], *move) for move in product(range(-2, 3), range(-2, 3))}
    found = set()
    for out in translate(image.expand(300, -1, -1, -1)):
        found |= {move for move, candidate in candidates.items() if torch.equal(out, candidate)}
        assert any(torch.equal(out, candidate) for candidate in candidates.values())
    assert found == set(candidates)


def test_cutout_zeroes_one_square_of_half_the_side() -> None:
    image = images(1)
    tops = set()
    for out in cutout(image.expand(300, -1, -1, -1)):
        gone = (out == 0).all(0)
        rows, columns = gone.any(1).nonzero().flatten(), gone.any(0).nonzero().flatten()
        # A hole that the border cuts begins outside.
        top = int(rows[0]) if rows[0] > 0 else int(rows[-1]) + 1 - SIDE // 2
        left = int(columns[0]) if columns[0] > 0 else int(columns[-1]) + 1 - SIDE // 2
        assert torch.equal(out, holed(image[0], top, left))
        tops.add(top)
    assert tops == set(range(-SIDE // 4, SIDE - SIDE // 4))


def recoloured(image: Tensor, brightness: float, saturation: float, contrast: float) -> Tensor:
    """Brightness, then saturation about each pixel's grey, then contrast about the mean."""
    out = torch.empty_like(image)
    for y, x in product(range(SIDE), range(SIDE)):
        pixel = [value + brightness for value in image[:, y, x].tolist()]
        grey = sum(pixel) / 3
        out[:, y, x] = torch.tensor([grey + (value - grey) * saturation for value in pixel])
    mean = sum(out.flatten().tolist()) / out.numel()
    return mean + (out - mean) * contrast


def test_colour_changes_brightness_saturation_and_contrast_in_their_ranges() -> None:
    """The three draws are read off the result, and must then explain every pixel of it."""
    before = images(200)
    after = colour(before)
    grey_before, grey_after = before.mean(1, keepdim=True), after.mean(1, keepdim=True)
    brightness = after.mean((1, 2, 3)) - before.mean((1, 2, 3))
    contrast = grey_after.std((1, 2, 3)) / grey_before.std((1, 2, 3))
    chroma = (after - grey_after).std((1, 2, 3)) / (before - grey_before).std((1, 2, 3))
    saturation = chroma / contrast
    draws = ((brightness, -0.5, 0.5), (saturation, 0, 2), (contrast, 0.5, 1.5))
    for values, low, high in draws:
        margin = (high - low) / 20
        assert low - 1e-6 <= values.min() < low + margin
        assert high - margin < values.max() <= high + 1e-6
    for i in range(5):
        expected = recoloured(before[i], float(brightness[i]), float(saturation[i]), float(contrast[i]))
        torch.testing.assert_close(after[i], expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("transform", [colour, translate, cutout, augment])
def test_every_picture_has_a_draw_of_its_own(transform: Callable[[Tensor], Tensor]) -> None:
    out = transform(images(1).expand(20, -1, -1, -1))
    assert len({tuple(image.flatten().tolist()) for image in out}) > 10


@pytest.mark.parametrize("transform", [colour, translate, cutout, augment])
def test_transforms_are_differentiable(transform: Callable[[Tensor], Tensor]) -> None:
    """For fixed draws each is affine, so its gradient foretells any change exactly."""
    x, step, probe = images(4).requires_grad_(), images(4), images(4)

    def value(at: Tensor) -> Tensor:
        torch.manual_seed(7)
        return (transform(at) * probe).sum()

    (grad,) = torch.autograd.grad(value(x), [x])
    change = float(value(x.detach() + step) - value(x.detach()))
    assert abs(change) > 1
    assert float((grad * step).sum()) == pytest.approx(change)
