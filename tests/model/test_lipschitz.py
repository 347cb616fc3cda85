"""Why L2 attention: its Lipschitz constant is bounded where dot-product attention's is not.

Kim, Papamakarios and Mnih 2021 show that softmax(Q K^T) V has no Lipschitz constant: at a point where one
token is zero and the others are large and apart, the derivative with respect to that token grows with their
scale. Measured here as the largest singular value of the Jacobian: at scales 1, 4, 16, 64 it is 2.7, 2.3,
1.8, 1.8 for L2 attention and 3.8, 23, 370, 5925 for dot products with the same weights.
"""

from __future__ import annotations

import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.config import Config
from model.discriminator import Discriminator
from model.layers import L2SelfAttention, merge_heads, split_heads

TOKENS, WIDTH, HEADS = 7, 8, 2
SCALES = (1.0, 4.0, 16.0, 64.0)


class DotProduct(nn.Module):
    """softmax(q k / sqrt(d)) v with the weights of an L2 attention, so that only the score differs."""

    def __init__(self, twin: L2SelfAttention) -> None:
        super().__init__()
        self.twin = twin

    def forward(self, x: Tensor) -> Tensor:
        q, v = (split_heads(layer(x), HEADS) for layer in (self.twin.query, self.twin.value))
        return self.twin.out(merge_heads(F.scaled_dot_product_attention(q, q, v)))


def local_constant(layer: nn.Module, scale: float) -> float:
    """Largest singular value of the Jacobian where one token is zero and the rest are far out."""
    x = scale * torch.randn(1, TOKENS, WIDTH, dtype=torch.double, generator=torch.Generator().manual_seed(1))
    x[0, 0] = 0
    jacobian = torch.autograd.functional.jacobian(layer, x).reshape(TOKENS * WIDTH, TOKENS * WIDTH)
    return float(torch.linalg.matrix_norm(jacobian, 2))


@pytest.fixture
def attention() -> L2SelfAttention:
    return L2SelfAttention(WIDTH, HEADS, query_gain=1.0).double()


def test_l2_attention_stays_lipschitz_where_dot_products_do_not(attention: L2SelfAttention) -> None:
    l2 = [local_constant(attention, scale) for scale in SCALES]
    dot = [local_constant(DotProduct(attention), scale) for scale in SCALES]
    assert max(l2) < 5
    assert dot[-1] > 1000
    assert all(later > 2.5 * earlier for earlier, later in itertools.pairwise(dot))


def test_attention_follows_a_permutation_of_its_tokens(attention: L2SelfAttention) -> None:
    x, order = torch.randn(2, TOKENS, WIDTH, dtype=torch.double), torch.randperm(TOKENS)
    torch.testing.assert_close(attention(x[:, order]), attention(x)[:, order])
    assert not torch.allclose(attention(x), attention(x)[:, order], atol=1e-3)


def test_without_positions_the_discriminator_sees_a_set_of_patches(
    tiny: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The position embedding alone tells where a patch lies."""
    discriminator = Discriminator(tiny.discriminator).requires_grad_(False)
    image, order = torch.randn(1, 3, 16, 16), torch.randperm(16)
    patches = discriminator.patches(image)
    logits = []
    for position in (discriminator.position.clone(), torch.zeros_like(discriminator.position)):
        discriminator.position.copy_(position)
        for shown in (patches, patches[:, order]):
            monkeypatch.setattr(discriminator, "patches", lambda images, shown=shown: shown)
            logits.append(float(discriminator(image)))
    placed, placed_anew, loose, loose_anew = logits
    assert loose == pytest.approx(loose_anew, abs=1e-5)
    assert abs(placed - placed_anew) > 1e-3
