"""The transformer's parts: self-modulation, attention by dot product and by L2 distance, ISN.

B batch, N tokens, D width, H heads, d = D / H.
"""

from __future__ import annotations

import math
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def linear(fan_in: int, fan_out: int, gain: float = 1.0, bias: float = 0.0) -> nn.Linear:
    """A linear layer with weights of std gain / sqrt(fan_in).

    PyTorch's default is 0.58 / sqrt(fan_in): a stack of it shrinks the signal layer by layer.
    """
    layer = nn.Linear(fan_in, fan_out)
    nn.init.normal_(layer.weight, std=gain / math.sqrt(fan_in))
    nn.init.constant_(layer.bias, bias)
    return layer


class SelfModulatedLayerNorm(nn.Module):
    """SLN(h, w) = gamma(w) * (h - mu) / sigma + beta(w), the style's only entrance (paper, eq. 15).

    gamma and beta are one linear layer each. gamma starts around 1 and both depend on w only a little
    at first (gain 1/4), so that the style, equal in all tokens, does not outweigh their positions. The
    value is a choice, not the result of an ablation (docs/log.md).
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gamma = linear(width, width, gain=0.25, bias=1.0)
        self.beta = linear(width, width, gain=0.25)

    def forward(self, h: Tensor, w: Tensor) -> Tensor:
        """Tokens [B, N, D] and style [B or more, D] to tokens [B, N, D]; more rows are padding."""
        gamma = self.gamma(w)[: len(h), None]  # [B, 1, D]
        beta = self.beta(w)[: len(h), None]  # [B, 1, D]
        return torch.addcmul(beta, gamma, F.layer_norm(h, h.shape[-1:]))  # [B, N, D]


def split_heads(x: Tensor, heads: int) -> Tensor:
    """[B, N, D] to [B, H, N, d]."""
    return torch.unflatten(x, -1, (heads, -1)).transpose(1, 2)


def merge_heads(x: Tensor) -> Tensor:
    """[B, H, N, d] to [B, N, D]."""
    return x.transpose(1, 2).flatten(2)


class SelfAttention(nn.Module):
    """Multi-head self-attention, softmax(Q K^T / sqrt(d)) V (Vaswani et al. 2017), for the generator."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = linear(width, 3 * width)
        self.out = linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """[B, N, D] to [B, N, D]."""
        q, k, v = (split_heads(t, self.heads) for t in self.qkv(x).chunk(3, dim=-1))  # [B, H, N, d]
        return cast(Tensor, self.out(merge_heads(F.scaled_dot_product_attention(q, k, v))))  # [B, N, D]


class ISNLinear(nn.Module):
    """Linear layer under improved spectral normalisation (paper, eq. 9).

        W_isn = sigma(W_init) * W / sigma(W)

    sigma is the largest singular value. Its vectors u and v are buffers: set by an SVD at
    initialisation, moved on by one step of power iteration in each ``power_iterate``, and stored with
    the weights, so that a loaded network is the saved one.
    """

    weight: nn.Parameter
    u: Tensor
    v: Tensor
    sigma_init: Tensor

    def __init__(self, fan_in: int, fan_out: int, gain: float = 1.0, bias: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(fan_out, fan_in) * (gain / math.sqrt(fan_in)))
        self.bias = nn.Parameter(torch.zeros(fan_out)) if bias else None
        left, sigma, right = torch.linalg.svd(self.weight.detach(), full_matrices=False)
        self.register_buffer("u", left[:, 0].clone())
        self.register_buffer("v", right[0].clone())
        self.register_buffer("sigma_init", sigma[0].clone())

    @torch.no_grad()
    def power_iterate(self) -> None:
        """One step of power iteration on u and v, in place."""
        self.v.copy_(F.normalize(self.weight.T @ self.u, dim=0))
        self.u.copy_(F.normalize(self.weight @ self.v, dim=0))

    def normalised_weight(self) -> Tensor:
        """W_isn [out, in]; the gradient flows through sigma(W) = u^T W v too."""
        # Not as products of a matrix and vectors: under autocast those are bf16, too coarse for sigma.
        sigma = (self.u[:, None] * self.weight * self.v).sum()
        return self.weight * (self.sigma_init / sigma)

    def forward(self, x: Tensor) -> Tensor:
        """[..., in] to [..., out]."""
        return F.linear(x, self.normalised_weight(), self.bias)


class L2SelfAttention(nn.Module):
    """Lipschitz self-attention (Kim, Papamakarios, Mnih 2021; paper, eq. 7).

        softmax(-|q_i - k_j|^2 / sqrt(d)) V,   with W_q = W_k

    -|q - k|^2 = 2 q.k - |k|^2 - |q|^2, and the softmax over j cancels |q|^2, so the fused dot-product
    kernel computes it on vectors one channel longer: [2q, 1] . [k, -|k|^2].
    """

    def __init__(self, width: int, heads: int, query_gain: float) -> None:
        super().__init__()
        self.heads = heads
        # Tied: it makes the keys too, so a bias would cancel in q - k.
        self.query = ISNLinear(width, width, gain=query_gain, bias=False)
        self.value = ISNLinear(width, width)
        self.out = ISNLinear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """[B, N, D] to [B, N, D]."""
        q = split_heads(self.query(x), self.heads)  # [B, H, N, d]
        v = split_heads(self.value(x), self.heads)  # [B, H, N, d]
        norm = q.square().sum(-1, keepdim=True)  # [B, H, N, 1]
        queries = torch.cat((2 * q, torch.ones_like(norm)), -1)  # [B, H, N, d + 1]
        keys = torch.cat((q, -norm), -1)  # [B, H, N, d + 1]
        mixed = F.scaled_dot_product_attention(
            queries, keys, F.pad(v, (0, 1)), scale=1 / math.sqrt(q.shape[-1])
        )[..., :-1]  # [B, H, N, d]
        return cast(Tensor, self.out(merge_heads(mixed)))  # [B, N, D]
