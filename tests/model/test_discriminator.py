from __future__ import annotations

from itertools import product

import pytest
import torch
from torch import Tensor, nn

from model.config import Config
from model.discriminator import Discriminator
from model.layers import ISNLinear
from model.presets import preset


@pytest.fixture
def discriminator(tiny: Config) -> Discriminator:
    return Discriminator(tiny.discriminator).requires_grad_(False)


def class_token(discriminator: Discriminator, images: Tensor) -> Tensor:
    """What the head reads: [B, D]."""
    seen: list[Tensor] = []
    handle = discriminator.norm.register_forward_hook(lambda *call: seen.append(call[2]))
    discriminator(images)
    handle.remove()
    return seen[0]


@pytest.mark.parametrize("batch", [1, 3])
def test_logits_are_one_number_a_picture(discriminator: Discriminator, batch: int) -> None:
    assert discriminator(torch.randn(batch, 3, 16, 16)).shape == (batch,)


def test_a_logit_depends_on_its_own_picture_alone(discriminator: Discriminator) -> None:
    images = torch.randn(3, 3, 16, 16)
    alone = torch.cat([discriminator(image[None]) for image in images])
    assert alone.std() > 1e-3
    torch.testing.assert_close(discriminator(images), alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["vitgan-ti-32", "vitgan-s-32"])
def test_the_class_token_sees_the_image_from_the_start(name: str) -> None:
    discriminator = Discriminator(preset(name).discriminator).requires_grad_(False)
    token = class_token(discriminator, torch.rand(8, 3, 1, 1) * 2 - 1 + torch.zeros(3, 32, 32))
    assert token.std(0).mean() > 0.2 * token.std()


def test_patches_are_windows_of_the_padded_picture(discriminator: Discriminator) -> None:
    images = torch.randn(2, 3, 16, 16)
    padded = torch.zeros(2, 3, 20, 20)
    padded[:, :, 2:18, 2:18] = images
    for n, (row, column) in enumerate(product(range(4), range(4))):
        window = padded[:, :, 4 * row : 4 * row + 8, 4 * column : 4 * column + 8]
        assert torch.equal(discriminator.patches(images)[:, n], window.flatten(1))


@pytest.mark.parametrize(("y", "x"), [(0, 0), (15, 15), (1, 2), (6, 9), (7, 0), (8, 8), (5, 13)])
def test_a_pixel_reaches_exactly_the_patches_that_contain_it(
    discriminator: Discriminator, y: int, x: int
) -> None:
    image = torch.randn(1, 3, 16, 16)
    before = discriminator.embed(discriminator.patches(image))
    image[0, 1, y, x] += 1
    changed = (discriminator.embed(discriminator.patches(image)) != before)[0].any(1)
    expected = [
        4 * row - 2 <= y < 4 * row + 6 and 4 * column - 2 <= x < 4 * column + 6
        for row, column in product(range(4), range(4))
    ]
    assert changed.tolist() == expected


def test_every_linear_layer_is_spectrally_normalised(discriminator: Discriminator) -> None:
    kinds = [type(module) for module in discriminator.modules()]
    assert nn.Linear not in kinds
    assert nn.Conv2d not in kinds
    assert kinds.count(ISNLinear) == 1 + 5 + 2  # embedding; q, v, out and the MLP's two; head


def test_power_iterate_reaches_every_layer(discriminator: Discriminator) -> None:
    layers = [m for m in discriminator.modules() if isinstance(m, ISNLinear) and len(m.u) > 1]
    for layer in layers:
        layer.weight += 0.2 * torch.randn_like(layer.weight)
    before = [layer.u.clone() for layer in layers]
    discriminator.power_iterate()
    assert all(not torch.equal(u, layer.u) for u, layer in zip(before, layers, strict=True))
