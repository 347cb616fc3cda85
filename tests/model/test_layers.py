from __future__ import annotations

import io
import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from model.layers import ISNLinear, L2SelfAttention, SelfAttention, SelfModulatedLayerNorm
from tests.model import naive


def test_sln_normalises_scales_and_shifts_by_the_style() -> None:
    layer, h, w = SelfModulatedLayerNorm(8), torch.randn(3, 5, 8) * 4 + 1, torch.randn(3, 8)
    expected = [naive.sln(layer, naive.array(h[b]), naive.array(w[b])) for b in range(3)]
    assert naive.array(layer(h, w)) == pytest.approx(np.stack(expected), abs=1e-5)


def test_sln_ignores_padding_styles() -> None:
    layer, h, w = SelfModulatedLayerNorm(8), torch.randn(2, 5, 8), torch.randn(6, 8)
    assert layer(h, w).shape == (2, 5, 8)
    torch.testing.assert_close(layer(h, w), layer(h, w[:2]))


def test_self_attention_is_softmax_of_scaled_dot_products() -> None:
    layer, x = SelfAttention(8, heads=2), torch.randn(3, 5, 8)
    nn.init.normal_(layer.qkv.bias)
    expected = [naive.self_attention(layer, naive.array(part)) for part in x]
    assert naive.array(layer(x)) == pytest.approx(np.stack(expected), abs=1e-5)


def isn(layer: ISNLinear, x: Tensor) -> Tensor:
    """At initialisation W_isn = sigma(W_0) W / sigma(W), by a spectral norm without u and v."""
    sigma = torch.linalg.matrix_norm(layer.weight, 2)
    return x @ (layer.weight * sigma.detach() / sigma).T + (0 if layer.bias is None else layer.bias)


def l2_attention(layer: L2SelfAttention, x: Tensor) -> Tensor:
    """softmax(-|q_i - q_j|^2 / sqrt(d)) v of one picture's tokens [N, D], by loops."""
    q, v = isn(layer.query, x), isn(layer.value, x)
    d = x.shape[1] // layer.heads
    rows = []
    for i in range(len(x)):
        row = []
        for start in range(0, x.shape[1], d):
            part = slice(start, start + d)
            distances = [((q[i, part] - q[j, part]) ** 2).sum() for j in range(len(x))]
            weights = [torch.exp(-distance / math.sqrt(d)) for distance in distances]
            total = torch.stack(weights).sum()
            row.append(sum(w / total * v[j, part] for j, w in enumerate(weights)))
        rows.append(torch.cat(row))
    return isn(layer.out, torch.stack(rows))


def test_l2_attention_is_softmax_of_negative_squared_distances() -> None:
    layer = L2SelfAttention(8, heads=2, query_gain=0.7).double()
    x = torch.randn(3, 5, 8, dtype=torch.double)
    torch.testing.assert_close(
        layer(x), torch.stack([l2_attention(layer, part) for part in x]), rtol=1e-5, atol=1e-6
    )


def test_l2_attention_has_the_gradient_of_its_formula() -> None:
    layer = L2SelfAttention(8, heads=2, query_gain=0.7).double()
    x = torch.randn(5, 8, dtype=torch.double, requires_grad=True)
    probe = torch.randn(5, 8, dtype=torch.double)
    inputs = [x, layer.query.weight, layer.value.weight, layer.out.weight]
    actual = torch.autograd.grad((layer(x[None])[0] * probe).sum(), inputs)
    expected = torch.autograd.grad((l2_attention(layer, x) * probe).sum(), inputs)
    for a, b in zip(actual, expected, strict=True):
        assert b.abs().max() > 1e-3
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


def update(layer: ISNLinear, times: int) -> None:
    """Noisy updates of the weight, each followed by one power iteration."""
    for _ in range(times):
        with torch.no_grad():
            layer.weight += 0.02 * torch.randn_like(layer.weight)
        layer.power_iterate()


def test_isn_starts_at_the_weight_itself() -> None:
    layer = ISNLinear(24, 16)
    torch.testing.assert_close(layer.normalised_weight(), layer.weight)


def test_isn_keeps_the_initial_spectral_norm_while_the_weight_grows() -> None:
    layer = ISNLinear(24, 16)
    sigma_init = np.linalg.norm(naive.array(layer.weight), 2)
    update(layer, 300)
    weight = naive.array(layer.weight)
    sigma = np.linalg.norm(weight, 2)
    assert sigma > 1.3 * sigma_init, "the updates were too small to show anything"
    expected = sigma_init * weight / sigma
    error = np.linalg.norm(naive.array(layer.normalised_weight()) - expected)
    assert error < 0.01 * np.linalg.norm(expected)


def test_isn_gradient_flows_through_the_spectral_norm() -> None:
    """W_isn does not change along W, so its gradient has no part along W."""
    layer, probe = ISNLinear(24, 16), torch.randn(16, 24)
    (grad,) = torch.autograd.grad((layer.normalised_weight() * probe).sum(), [layer.weight])
    assert grad.norm() > 1
    assert torch.dot(grad.flatten(), layer.weight.flatten()).abs() < 1e-4


def test_isn_state_survives_saving_and_loading_to_the_bit() -> None:
    saved, loaded, x = ISNLinear(24, 16), ISNLinear(24, 16), torch.randn(7, 24)
    update(saved, 10)
    file = io.BytesIO()
    torch.save(saved.state_dict(), file)
    file.seek(0)
    loaded.load_state_dict(torch.load(file, weights_only=True))
    for _ in range(2):  # as it is, and one power iteration on
        assert torch.equal(saved(x), loaded(x))
        saved.power_iterate()
        loaded.power_iterate()
