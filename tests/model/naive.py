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


def lrelu(x: np.ndarray) -> np.ndarray:
    return np.where(x > 0, x, 0.2 * x)


def convolve(x: np.ndarray, weight: np.ndarray, stride: int = 1, padding: int = 0) -> np.ndarray:
    """Pictures [B, c, s, s] under a kernel [c', c, k, k], zeros beyond the edge, place by place."""
    k = weight.shape[-1]
    x = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    side = (x.shape[-1] - k) // stride + 1
    out = np.empty((len(x), len(weight), side, side))
    for row, column in product(range(side), range(side)):
        seen = x[:, :, row * stride : row * stride + k, column * stride : column * stride + k]
        out[:, :, row, column] = np.tensordot(seen, weight, ([1, 2, 3], [1, 2, 3]))
    return out


def blur(x: np.ndarray, padding: int) -> np.ndarray:
    """[1, 3, 3, 1] / 8 along both axes, channel by channel."""
    kernel = np.outer([1, 3, 3, 1], [1, 3, 3, 1])[None, None] / 64
    return np.concatenate([convolve(x[:, [c]], kernel, padding=padding) for c in range(x.shape[1])], 1)


def equalized(layer: nn.Module) -> np.ndarray:
    """v / sqrt(fan_in), before any gain."""
    weight = array(layer.weight)
    return weight / math.sqrt(weight[0].size)


def minibatch_std(h: np.ndarray, group: int) -> np.ndarray:
    """One more channel: the mean over channels and places of the std over each group."""
    out = np.empty((len(h), 1, *h.shape[2:]))
    for first in range(0, len(h), group):
        members = h[first : first + group]
        out[first : first + group] = np.sqrt(members.var(0) + 1e-8).mean()
    return np.concatenate((h, out), 1)


def stylegan2_logits(network: nn.Module, images: np.ndarray, places: np.ndarray, group: int) -> np.ndarray:
    """StyleGAN2's discriminator as its paper draws it, every gain where it stands there."""

    def gained(x: np.ndarray) -> np.ndarray:
        return math.sqrt(2) * lrelu(x)

    def bias(layer: nn.Module) -> np.ndarray:
        return array(layer.bias)[:, None, None]

    told = (places @ array(network.view) / math.sqrt(2))[:, :, None, None]
    h = gained(convolve(images, equalized(network.from_rgb)) + bias(network.from_rgb) + told)
    for block in network.blocks:
        y = gained(convolve(h, equalized(block.first), padding=1) + bias(block.first))
        y = gained(convolve(blur(y, 2), equalized(block.second), stride=2) + bias(block.second))
        skip = convolve(blur(h, 1), equalized(block.skip), stride=2)
        h = (y + skip) / math.sqrt(2)
    h = minibatch_std(h, group)
    h = gained(convolve(h, equalized(network.last), padding=1) + bias(network.last))
    h = gained(h.reshape(len(h), -1) @ equalized(network.hidden).T + array(network.hidden.bias))
    return (h @ equalized(network.head).T + array(network.head.bias))[:, 0]
