from __future__ import annotations

import math

import pytest
import torch

from model.config import GeneratorConfig
from model.generator import Generator
from model.interpolation import Walk, places, slerp
from model.sampling import latent, sample_tokens

TINY = GeneratorConfig(
    resolution=16, grid=4, z_dim=8, mapping_layers=1, width=16, blocks=1, heads=2, siren_width=8,
    fourier_dim=8,
)  # fmt: skip


@pytest.fixture(scope="module")
def generator() -> Generator:
    torch.manual_seed(0)
    generator = Generator(TINY)
    generator.measure_w_mean(64)
    return generator


def test_a_loop_comes_back_and_an_open_walk_ends_on_its_last_seed() -> None:
    assert [float(place) for place in places(2, 4, loop=True)] == [0, 0.5, 1, 1.5]
    assert [float(place) for place in places(3, 5, loop=False)] == [0, 0.5, 1, 1.5, 2]


def test_slerp_against_a_rotation() -> None:
    """In the plane of a and b, at the share t of the angle between them."""
    a, b = torch.tensor([2.0, 0, 0]).double(), torch.tensor([0, 2.0, 0]).double()
    for t in (0.0, 0.25, 0.5, 1.0):
        angle = t * math.pi / 2
        expected = torch.tensor([2 * math.cos(angle), 2 * math.sin(angle), 0]).double()
        assert torch.allclose(slerp(a, b, t), expected, atol=1e-12)
    assert torch.allclose(slerp(a, 3 * a, 0.5), 2 * a)  # along a line there is no angle


@pytest.mark.parametrize("space", ["z", "w"])
@pytest.mark.parametrize("loop", [True, False])
def test_a_frame_on_a_seed_is_its_picture(generator: Generator, space: str, loop: bool) -> None:
    walk = Walk(generator, [5, 6, 9], 9 if loop else 7, space, loop, truncation=0.7)
    tokens = walk.tokens(0, len(walk.places))
    assert torch.equal(tokens[::3], sample_tokens(generator, [5, 6, 9], [0.7] * 3))


@pytest.mark.parametrize("space", ["z", "w"])
def test_frames_are_the_same_bits_however_they_are_grouped(generator: Generator, space: str) -> None:
    walk = Walk(generator, range(5), 40, space, True, truncation=0.9)
    whole = walk.tokens(0, 40)
    for size in (1, 3, 17):
        parts = [walk.tokens(first, min(first + size, 40)) for first in range(0, 40, size)]
        assert torch.equal(torch.cat(parts), whole)


@pytest.mark.parametrize("space", ["z", "w"])
def test_steps_are_small_and_even(generator: Generator, space: str) -> None:
    tokens = Walk(generator, [1, 2], 64, space, True, truncation=1.0).tokens(0, 64)
    steps = (tokens - tokens.roll(1, 0)).flatten(1).norm(dim=1)
    assert steps.max() < 5 * steps.mean()
    assert steps.max() < 0.3 * (tokens[0] - tokens[32]).norm()


def test_in_w_halfway_is_the_mean_style(generator: Generator) -> None:
    halfway = Walk(generator, [1, 2], 4, "w", True, truncation=1.0).tokens(1, 2)
    w = generator.mapping(torch.stack([latent(1, 8), latent(2, 8)])).mean(0, keepdim=True)
    assert torch.allclose(halfway, generator.tokens(w), atol=1e-5)
