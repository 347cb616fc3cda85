"""StyleGAN2's discriminator against its paper, written plainly (tests/model/naive.py)."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from model.config import Config, DiscriminatorConfig
from model.discriminator import discriminator_of
from model.discriminator_stylegan2 import (
    Blur,
    EqualizedConv,
    EqualizedLinear,
    StyleGAN2Discriminator,
    activate,
    minibatch_std,
)
from model.presets import preset
from tests.model import naive


@pytest.fixture
def discriminator(stylegan2: Config) -> StyleGAN2Discriminator:
    network = StyleGAN2Discriminator(stylegan2.discriminator, views=True).requires_grad_(False)
    assert network.view is not None
    for parameter in network.parameters():
        parameter.normal_()  # biases and what is told of places too, which start at 0
    return network


def test_the_forward_pass_is_the_papers(discriminator: StyleGAN2Discriminator) -> None:
    images, places = torch.randn(6, 3, 16, 16), torch.randn(6, 3)
    expected = naive.stylegan2_logits(discriminator, naive.array(images), naive.array(places), group=2)
    found = discriminator(images, places)
    assert found.shape == (6,)
    assert found.std() > 0.1
    torch.testing.assert_close(found.double(), torch.from_numpy(expected), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("padding", [1, 2])
def test_the_blur_is_one_three_three_one(padding: int) -> None:
    x = torch.randn(2, 3, 8, 8)
    expected = torch.from_numpy(naive.blur(naive.array(x), padding))
    torch.testing.assert_close(Blur()(x, padding).double(), expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(Blur()(x, padding, stride=2).double(), expected[:, :, ::2, ::2])


def test_the_blur_lets_flat_colour_through_and_stops_what_halving_would_fold() -> None:
    """The finest pattern, +1 -1 +1 ..., would become flat colour if every other pixel were taken."""
    flat = torch.ones(1, 1, 8, 8)
    stripes = flat * torch.tensor([1.0, -1.0]).repeat(4)
    inner = (..., slice(1, -1), slice(1, -1))
    assert torch.allclose(Blur()(flat, 1, stride=2)[inner], torch.ones(1))
    assert torch.allclose(Blur()(stripes, 1, stride=2)[inner], torch.zeros(1), atol=1e-7)
    assert (stripes[..., ::2] == 1).all()


def test_the_minibatchs_deviation_is_of_consecutive_pictures() -> None:
    h = torch.randn(6, 3, 4, 4)
    found = minibatch_std(h, group=3)
    expected = torch.from_numpy(naive.minibatch_std(naive.array(h), 3))
    torch.testing.assert_close(found.double(), expected)
    halves = torch.cat([minibatch_std(half, group=3) for half in h.chunk(2)])
    assert torch.equal(found, halves)
    alike = minibatch_std(h[:1].expand(3, -1, -1, -1), group=3)
    assert alike[:, 3].max() <= 1e-4  # the root of the 1e-8 that keeps its gradient finite


def test_a_batch_smaller_than_a_group_is_one_group() -> None:
    h = torch.randn(2, 3, 4, 4)
    assert torch.equal(minibatch_std(h, group=8), minibatch_std(h, group=2))


def test_a_logit_depends_on_its_own_group_alone(discriminator: StyleGAN2Discriminator) -> None:
    images, places = torch.randn(4, 3, 16, 16), torch.randn(4, 3)
    before = discriminator(images, places)
    images[3] = torch.randn(3, 16, 16)
    changed = (discriminator(images, places) - before).abs()
    assert changed[:2].max() < 1e-5
    assert changed[2:].min() > 1e-4


def test_a_logit_depends_on_what_is_told_of_the_place(discriminator: StyleGAN2Discriminator) -> None:
    images, places = torch.randn(2, 3, 16, 16), torch.zeros(2, 3)
    whole = discriminator(images, places)
    torch.testing.assert_close(discriminator(images), whole)
    places[0, 0] = 1
    assert (discriminator(images, places) - whole).abs()[0] > 1e-3


@pytest.mark.parametrize("kind", ["conv", "linear"])
def test_layers_keep_unit_variance_and_their_weights_have_it(kind: str) -> None:
    layer: torch.nn.Module
    if kind == "conv":
        layer, x = EqualizedConv(64, 64, 3, gain=math.sqrt(2)), torch.randn(8, 64, 16, 16)
    else:
        layer, x = EqualizedLinear(256, 256, gain=math.sqrt(2)), torch.randn(512, 256)
    layer.requires_grad_(False)
    assert float(layer.weight.std()) == pytest.approx(1, rel=0.05)
    # A leaky ReLU of slope 0.2 leaves (1 + 0.2^2) / 2 of the mean square; the gain of 2 makes it 1.04.
    assert float(activate(layer(x)).square().mean()) == pytest.approx(1.04, rel=0.1)


def test_the_learning_rate_is_equalized_at_run_time(stylegan2: Config) -> None:
    """One step of Adam moves every weight by the rate, so what multiplies x by rate / sqrt(fan_in)."""
    network = StyleGAN2Discriminator(stylegan2.discriminator)
    layers = [m for m in network.modules() if isinstance(m, EqualizedConv | EqualizedLinear)]
    before = [layer.weight.detach().clone() for layer in layers]
    adam = torch.optim.Adam(network.parameters(), 0.01, (0.0, 0.99), eps=1e-12)
    network(torch.randn(4, 3, 16, 16)).sum().backward()
    adam.step()
    for layer, old in zip(layers, before, strict=True):
        moved = layer.weight.detach() - old
        assert float(moved.abs().median()) == pytest.approx(0.01, rel=1e-2)
        assert layer.scale == pytest.approx(layer.gain / math.sqrt(old[0].numel()))


def test_every_parameter_receives_a_gradient_from_logits_and_from_r1(stylegan2: Config) -> None:
    network = StyleGAN2Discriminator(stylegan2.discriminator, views=True)
    images, places = torch.randn(4, 3, 16, 16, requires_grad=True), torch.randn(4, 3)
    logits = network(images, places)
    (slope,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    by_r1 = torch.autograd.grad(slope.square().sum(), list(network.parameters()), allow_unused=True)
    network(images, places).square().sum().backward()
    for (name, parameter), found in zip(network.named_parameters(), by_r1, strict=True):
        assert parameter.grad is not None, name
        assert parameter.grad.norm() > 1e-4, name
        if not name.endswith(("bias", "view")):  # leaky ReLUs are straight: shifts bend no slope but by signs
            assert found is not None, name
            assert found.norm() > 1e-6, name


def test_the_presets_channels_are_those_of_the_spike() -> None:
    """0.87 million parameters: 32, 64, 128 and 128 channels from 32 pixels down to 4."""
    network = discriminator_of(preset("vitgan-ti-32-stylegan2").discriminator)
    assert isinstance(network, StyleGAN2Discriminator)
    widths = [network.from_rgb.weight.shape[0], *(block.skip.weight.shape[0] for block in network.blocks)]
    assert widths == [32, 64, 128, 128]
    assert sum(p.numel() for p in network.parameters()) == 871_585


@pytest.mark.parametrize("resolution", [8, 64, 128])
def test_any_power_of_two_is_judged(resolution: int) -> None:
    config = DiscriminatorConfig(kind="stylegan2", resolution=resolution)
    with torch.device("meta"):
        network = discriminator_of(config)
        images: Tensor = torch.empty(4, 3, resolution, resolution)
        assert network(images).shape == (4,)
