from __future__ import annotations

from collections.abc import Callable
from itertools import product

import pytest
import torch
from torch import Tensor

from model.augment import DRAWS, augment, colour, cutout, translate
from model.config import TRANSFORMS

SIDE = 16


POLICIES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "colour": lambda x, u: colour(x, u[:, 1:4]),
    "translation": lambda x, u: translate(x, u[:, 4:6]),
    "cutout": lambda x, u: cutout(x, u[:, 6:8]),
    "all": lambda x, u: augment(x, u, TRANSFORMS),
}


def draws(batch: int) -> Tensor:
    return torch.rand(batch, DRAWS, dtype=torch.double)


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
    for out in translate(image.expand(300, -1, -1, -1), draws(300)[:, :2]):
        found |= {move for move, candidate in candidates.items() if torch.equal(out, candidate)}
        assert any(torch.equal(out, candidate) for candidate in candidates.values())
    assert found == set(candidates)


def test_cutout_zeroes_one_square_of_half_the_side() -> None:
    image = images(1)
    tops = set()
    for out in cutout(image.expand(300, -1, -1, -1), draws(300)[:, :2]):
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
    after = colour(before, draws(200)[:, :3])
    grey_before, grey_after = before.mean(1, keepdim=True), after.mean(1, keepdim=True)
    brightness = after.mean((1, 2, 3)) - before.mean((1, 2, 3))
    contrast = grey_after.std((1, 2, 3)) / grey_before.std((1, 2, 3))
    chroma = (after - grey_after).std((1, 2, 3)) / (before - grey_before).std((1, 2, 3))
    saturation = chroma / contrast
    ranges = ((brightness, -0.5, 0.5), (saturation, 0, 2), (contrast, 0.5, 1.5))
    for values, low, high in ranges:
        margin = (high - low) / 20
        assert low - 1e-6 <= values.min() < low + margin
        assert high - margin < values.max() <= high + 1e-6
    for i in range(5):
        expected = recoloured(before[i], float(brightness[i]), float(saturation[i]), float(contrast[i]))
        torch.testing.assert_close(after[i], expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", POLICIES)
def test_every_picture_has_a_draw_of_its_own(name: str) -> None:
    out = POLICIES[name](images(1).expand(20, -1, -1, -1), draws(20))
    assert len({tuple(image.flatten().tolist()) for image in out}) > 10


@pytest.mark.parametrize("name", POLICIES)
def test_a_part_of_a_batch_is_changed_as_in_the_whole(name: str) -> None:
    x, u = images(6), draws(6)
    assert torch.equal(POLICIES[name](x[2:4], u[2:4]), POLICIES[name](x, u)[2:4])


@pytest.mark.parametrize("name", POLICIES)
def test_transforms_are_differentiable(name: str) -> None:
    """For fixed draws each is affine, so its gradient foretells any change exactly."""
    x, step, probe, u = images(4).requires_grad_(), images(4), images(4), draws(4)

    def value(at: Tensor) -> Tensor:
        return (POLICIES[name](at, u) * probe).sum()

    (grad,) = torch.autograd.grad(value(x), [x])
    change = float(value(x.detach() + step) - value(x.detach()))
    assert abs(change) > 1
    assert float((grad * step).sum()) == pytest.approx(change)


@pytest.mark.parametrize("policy", ["", "colour", "translation", "cutout", "cutout,colour"])
def test_a_policy_is_the_chain_of_what_it_names(policy: str) -> None:
    x, u = images(5), draws(5)
    expected = x
    for name in TRANSFORMS:
        expected = POLICIES[name](expected, u) if name in policy else expected
    assert torch.equal(augment(x, u, policy.split(",")), expected)


@pytest.mark.parametrize("probability", [0.0, 0.3, 1.0])
def test_a_share_of_the_pictures_is_changed(probability: float) -> None:
    x, u = images(1).expand(400, -1, -1, -1), draws(400)
    out = augment(x, u, TRANSFORMS, probability)
    same = torch.tensor([torch.equal(a, b) for a, b in zip(x, out, strict=True)])
    assert torch.equal(same, u[:, 0] >= probability)
    assert float(same.double().mean()) == pytest.approx(1 - probability, abs=0.1)
