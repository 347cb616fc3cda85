from __future__ import annotations

import numpy as np
import pytest
import torch

from model.config import preset
from model.generator import Generator, cell_centres
from model.siren import ModulatedLinear, Siren
from tests.model import naive

both = pytest.mark.parametrize("demodulate", [True, False])


@pytest.fixture
def siren() -> Siren:
    return Siren(width=16, siren_width=8, fourier_dim=6, fourier_std=1.5, demodulate=True)


@both
def test_modulating_activations_equals_explicit_weights(demodulate: bool) -> None:
    layer = ModulatedLinear(6, 5, width=16, demodulate=demodulate)
    torch.nn.init.normal_(layer.bias)
    x, y = torch.randn(3, 7, 6), torch.randn(3, 16)
    for patch, out in enumerate(layer(x, y)):
        weight = naive.modulated(layer, naive.array(y[patch]), demodulate)
        expected = naive.array(x[patch]) @ weight.T + naive.array(layer.bias)
        assert naive.array(out) == pytest.approx(expected, abs=1e-5)


@both
def test_folding_the_style_equals_explicit_weights(demodulate: bool) -> None:
    layer = ModulatedLinear(6, 5, width=16, demodulate=demodulate)
    y = torch.randn(3, 16)
    folded = fold(layer, y)
    expected = [naive.modulated(layer, naive.array(token), demodulate) for token in y]
    assert naive.array(folded) == pytest.approx(np.stack(expected), abs=1e-5)


@torch.no_grad()
def fold(layer: ModulatedLinear, y: torch.Tensor) -> torch.Tensor:
    return layer.fold(y, out=torch.empty(len(y), *layer.weight.shape))


def test_demodulated_weights_have_unit_norm() -> None:
    layer = ModulatedLinear(6, 5, width=16, demodulate=True)
    norms = fold(layer, torch.randn(3, 16)).norm(dim=2)
    torch.testing.assert_close(norms, torch.ones(3, 5))


def test_fourier_embedding_is_the_sine_of_projected_positions(siren: Siren) -> None:
    v = torch.rand(9, 2) * 2 - 1
    expected = [[np.sin(a * x + b * y) for a, b in siren.fourier.tolist()] for x, y in v.tolist()]
    assert naive.array(siren.embed(v)) == pytest.approx(np.array(expected), abs=1e-6)


@both
def test_siren_is_two_sine_layers_and_a_linear_one(demodulate: bool) -> None:
    siren = Siren(16, siren_width=8, fourier_dim=6, fourier_std=1.5, demodulate=demodulate)
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
