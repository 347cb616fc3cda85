"""The paper's formulas, written as slowly and plainly as they read: NumPy, float64, loops."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
from torch import Tensor, nn

from model.config import GeneratorConfig
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


def modulated(layer: ModulatedLinear, token: np.ndarray, demodulate: bool, level: float = 0) -> np.ndarray:
    """w'_ij = s_i w_ij, and over its norm if demodulated: [out, in]."""
    style = affine(layer.style, token)
    if layer.level is not None:
        style = style + level * array(layer.level)
    weight = array(layer.weight).copy()
    for j, i in product(range(weight.shape[0]), range(weight.shape[1])):
        weight[j, i] *= style[i]
    if demodulate:
        for row in weight:
            row /= math.sqrt(sum(row**2))
    return weight


def siren(
    painter: Siren, token: np.ndarray, v: np.ndarray, demodulate: bool = True, level: float = 0
) -> np.ndarray:
    """Colours [P, 3] of positions [P, 2] in the patch of one token [D], with weights of its own."""
    x = np.sin(array(painter.fourier) @ v.T)
    for layer in painter.hidden:
        bias = array(layer.bias)[:, None]
        x = np.sin(modulated(layer, token, demodulate, level) @ x + bias)
    return (modulated(painter.rgb, token, False, level) @ x + array(painter.rgb.bias)[:, None]).T


def share(u: float, cell: int, grid: int, overlap: float) -> float:
    """What a cell gives of the colour at u, in cells along one axis; the outer ones go on beyond the edge."""
    if not overlap:
        return float(cell == min(max(math.floor(u), 0), grid - 1))
    left = 1.0 if cell == 0 else min(max((u - cell) / overlap, -1), 1)
    right = 1.0 if cell == grid - 1 else min(max((cell + 1 - u) / overlap, -1), 1)
    return (1 + left) / 2 * (1 + right) / 2


def place(x: float, y: float, column: int, row: int, config: GeneratorConfig) -> tuple[float, float]:
    """What a cell's painter is told of the point (x, y) of the picture, in half cells."""
    if config.coordinates == "picture":
        return (2 * x - 1) * config.grid, (2 * y - 1) * config.grid
    return 2 * (x * config.grid - column) - 1, 2 * (y * config.grid - row) - 1


def sampled(
    generator: Generator, patches: np.ndarray, xs: list[float], ys: list[float], level: float = 0
) -> np.ndarray:
    """Tokens [L, D] to colours [len(ys), len(xs), 3] at places x, y of the picture, 0 to 1 a side."""
    grid, overlap = generator.config.grid, generator.config.overlap
    out = np.zeros((len(ys), len(xs), 3))
    for row, column in product(range(grid), range(grid)):
        points = []
        for (j, y), (i, x) in product(enumerate(ys), enumerate(xs)):
            weight = share(x * grid, column, grid, overlap) * share(y * grid, row, grid, overlap)
            if weight > 0:
                points.append((j, i, weight, *place(x, y, column, row, generator.config)))
        if points:
            js, is_, weights, v_x, v_y = (np.array(values) for values in zip(*points, strict=True))
            v = np.stack((v_x, v_y), axis=1)
            painted = siren(generator.siren, patches[row * grid + column], v, level=level)
            out[js.astype(int), is_.astype(int)] += weights[:, None] * painted
    return out


def picture(
    generator: Generator,
    patches: np.ndarray,
    size: tuple[int, int],
    shift: tuple[float, float] = (0, 0),
    level: float = 0,
) -> np.ndarray:
    """Tokens [L, D] to a picture [height, width, 3] in -1..1, each pixel painted at its centre.

    ``size`` is (width, height), and ``shift`` moves the centres by parts of a pixel.
    """
    xs, ys = ([(i + 0.5 + by) / side for i in range(side)] for side, by in zip(size, shift, strict=True))
    return sampled(generator, patches, xs, ys, level)
