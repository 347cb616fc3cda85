"""The paper's formulas, written as slowly and plainly as they read: NumPy, float64, loops."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
from torch import Tensor, nn

from model.generator import Generator
from model.siren import ModulatedLinear, Siren


def array(tensor: Tensor) -> np.ndarray:
    """A tensor's values as float64."""
    return tensor.detach().double().numpy()


def affine(layer: nn.Module, x: np.ndarray) -> np.ndarray:
    """W x + b for each row of x."""
    return x @ array(layer.weight).T + array(layer.bias)


def sln(layer: nn.Module, h: np.ndarray, w: np.ndarray) -> np.ndarray:
    """gamma(w) * (h - mu) / sigma + beta(w), token by token: h [N, D], w [D]."""
    gamma, beta = affine(layer.gamma, w), affine(layer.beta, w)
    out = np.empty_like(h)
    for n, token in enumerate(h):
        out[n] = gamma * (token - token.mean()) / math.sqrt(token.var() + 1e-5) + beta
    return out


def attend(q: np.ndarray, k: np.ndarray, v: np.ndarray, heads: int) -> np.ndarray:
    """softmax(q k / sqrt(d)) v, head by head and query by query: [N, D] each."""
    d = q.shape[1] // heads
    out = np.empty_like(q)
    for head, i in product(range(heads), range(len(q))):
        part = slice(head * d, (head + 1) * d)
        weights = np.array([math.exp(q[i, part] @ key[part] / math.sqrt(d)) for key in k])
        out[i, part] = (weights / weights.sum()) @ v[:, part]
    return out


def self_attention(layer: nn.Module, x: np.ndarray) -> np.ndarray:
    """The generator's MSA on one picture's tokens [N, D]."""
    q, k, v = np.split(affine(layer.qkv, x), 3, axis=1)
    return affine(layer.out, attend(q, k, v, layer.heads))


def gelu(x: np.ndarray) -> np.ndarray:
    return x * (1 + np.vectorize(math.erf)(x / math.sqrt(2))) / 2


def tokens(generator: Generator, z: np.ndarray) -> np.ndarray:
    """One latent [z_dim] to tokens [L, D], by the paper's equations."""
    w = z / math.sqrt((z**2).mean())
    for layer in generator.mapping.layers:
        w = affine(layer, w)
        w = np.where(w > 0, w, 0.2 * w)
    grid = generator.config.grid
    cells = [(2 * (c + 0.5) / grid - 1, 2 * (r + 0.5) / grid - 1)
             for r, c in product(range(grid), range(grid))]  # fmt: skip
    h = np.sin(affine(generator.position, np.array(cells)))
    for block in generator.blocks:
        h = h + self_attention(block.attention, sln(block.norm_attention, h, w))
        wide = gelu(affine(block.mlp[0], sln(block.norm_mlp, h, w)))
        h = h + affine(block.mlp[2], wide)
    return sln(generator.norm, h, w)


def modulated(layer: ModulatedLinear, token: np.ndarray, demodulate: bool) -> np.ndarray:
    """w'_ij = s_i w_ij, and over its norm if demodulated: [out, in]."""
    style = affine(layer.style, token)
    weight = array(layer.weight).copy()
    for j, i in product(range(weight.shape[0]), range(weight.shape[1])):
        weight[j, i] *= style[i]
    if demodulate:
        for row in weight:
            row /= math.sqrt(sum(row**2))
    return weight


def siren(painter: Siren, token: np.ndarray, v: np.ndarray, demodulate: bool = True) -> np.ndarray:
    """Colours [P, 3] of positions [P, 2] in the patch of one token [D], with weights of its own."""
    x = np.sin(array(painter.fourier) @ v.T)
    for layer in painter.hidden:
        bias = array(layer.bias)[:, None]
        x = np.sin(modulated(layer, token, demodulate) @ x + bias)
    return (modulated(painter.rgb, token, False) @ x + array(painter.rgb.bias)[:, None]).T


def picture(
    generator: Generator,
    patches: np.ndarray,
    size: tuple[int, int],
    shift: tuple[float, float] = (0, 0),
) -> np.ndarray:
    """Tokens [L, D] to a picture [height, width, 3] in -1..1, each pixel painted at its centre.

    ``size`` is (width, height), and ``shift`` moves the centres by parts of a pixel.
    """
    (width, height), grid = size, generator.config.grid
    where: dict[int, list[tuple[int, int, float, float]]] = {}
    for y, x in product(range(height), range(width)):
        column, row = (2 * x + 1) * grid // (2 * width), (2 * y + 1) * grid // (2 * height)
        v_x = 2 * ((x + 0.5 + shift[0]) * grid / width - column) - 1
        v_y = 2 * ((y + 0.5 + shift[1]) * grid / height - row) - 1
        where.setdefault(row * grid + column, []).append((x, y, v_x, v_y))
    out = np.full((height, width, 3), np.nan)
    for patch, points in where.items():
        xs, ys, v_x, v_y = (np.array(values) for values in zip(*points, strict=True))
        out[ys, xs] = siren(generator.siren, patches[patch], np.stack((v_x, v_y), axis=1))
    return out
