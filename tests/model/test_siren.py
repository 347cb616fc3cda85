from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from model.config import GeneratorConfig
from model.generator import Generator, cell_centres
from model.presets import preset
from model.siren import ModulatedLinear, Siren
from tests.model import naive

SMALL = GeneratorConfig(width=16, heads=2, siren_width=8, fourier_dim=6)
both = pytest.mark.parametrize("demodulate", [True, False])


@pytest.fixture
def siren() -> Siren:
    return Siren(SMALL)


@both
def test_modulating_activations_equals_explicit_weights(demodulate: bool) -> None:
    layer = ModulatedLinear(6, 5, width=16, demodulate=demodulate)
    torch.nn.init.normal_(layer.bias)
    x, y = torch.randn(3, 7, 6), torch.randn(3, 16)
    for patch, out in enumerate(layer(x, y)):
        weight = naive.modulated(layer, naive.array(y[patch]), demodulate)
        expected = naive.array(x[patch]) @ weight.T + naive.array(layer.bias)
        assert naive.array(out) == pytest.approx(expected, abs=1e-5)


def test_demodulated_weights_have_unit_norm() -> None:
    layer = ModulatedLinear(6, 5, width=16, demodulate=True)
    style = layer.styles(torch.randn(3, 16), 0.0)
    weight = layer.weight * style[:, None] * layer.demodulation(style)[:, :, None]
    torch.testing.assert_close(weight.norm(dim=2), torch.ones(3, 5))


def test_the_level_adds_its_own_vector_to_the_style() -> None:
    layer = ModulatedLinear(6, 5, width=16, demodulate=True, levels=True)
    x, y = torch.randn(3, 7, 6), torch.randn(3, 16)
    torch.testing.assert_close(layer(x, y, 2.0), layer(x, y, 0.0))  # at first the level changes nothing
    torch.nn.init.normal_(layer.level)
    for patch, out in enumerate(layer(x, y, 1.5)):
        weight = naive.modulated(layer, naive.array(y[patch]), True, level=1.5)
        assert naive.array(out) == pytest.approx(naive.array(x[patch]) @ weight.T, abs=1e-5)


def test_fourier_embedding_is_the_sine_of_projected_positions(siren: Siren) -> None:
    v = torch.rand(9, 2) * 2 - 1
    expected = [[np.sin(a * x + b * y) for a, b in siren.fourier.tolist()] for x, y in v.tolist()]
    assert naive.array(siren.embed(v)) == pytest.approx(np.array(expected), abs=1e-6)


@both
def test_siren_is_two_sine_layers_and_a_linear_one(demodulate: bool) -> None:
    siren = Siren(replace(SMALL, demodulate=demodulate))
    for layer in (*siren.hidden, siren.rgb):
        torch.nn.init.normal_(layer.bias)
    v, y = torch.rand(9, 2) * 2 - 1, torch.randn(4, 16)
    for token, colours in zip(y, siren(v, y), strict=True):
        expected = naive.siren(siren, naive.array(token), naive.array(v), demodulate)
        assert naive.array(colours) == pytest.approx(expected, abs=1e-5)


def test_a_pixel_sees_its_own_position_alone(siren: Siren) -> None:
    v, y = torch.rand(9, 2), torch.randn(2, 16)
    moved = v.clone()
    moved[4] += 0.3
    changed = (siren(v, y) != siren(moved, y)).any(2)
    assert changed.tolist() == [[pixel == 4 for pixel in range(9)]] * 2


def test_colours_start_faint_but_varied() -> None:
    config = preset("vitgan-ti-32").generator
    siren = Generator(config).siren
    colours = siren(cell_centres(config.patch), torch.randn(64, config.width))
    assert 0.05 < colours.std() < 0.5
