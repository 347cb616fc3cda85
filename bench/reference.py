"""An eager training step of the same ViTGAN as public re-implementations write it, to measure ours against.

Each set of pictures goes through the discriminator by itself, each call iterates its powers, distances and
every patch's SIREN weights are laid out, the average is kept in a loop. Sizes, losses and start are ours.
"""

# mypy: disable-error-code="no-any-return,no-untyped-call"
from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.config import Config
from model.generator import cell_centres
from model.layers import linear


class SpectralLinear(nn.Module):
    def __init__(self, fan_in: int, fan_out: int, gain: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(fan_out, fan_in) * gain / math.sqrt(fan_in))
        self.bias = nn.Parameter(torch.zeros(fan_out))
        left, sigma, _ = torch.linalg.svd(self.weight.detach(), full_matrices=False)
        self.u: Tensor = nn.Buffer(left[:, 0].clone())
        self.sigma_init = nn.Buffer(sigma[0].clone())

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            v = F.normalize(self.weight.T @ self.u, dim=0)
            self.u = F.normalize(self.weight @ v, dim=0)
        sigma = self.u @ self.weight @ v
        return F.linear(x, self.weight * self.sigma_init / sigma, self.bias)


class L2Attention(nn.Module):
    def __init__(self, width: int, heads: int, gain: float) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.value = SpectralLinear(width, width, gain), SpectralLinear(width, width)
        self.out = SpectralLinear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        batch, count, width = x.shape
        shape = (batch, count, self.heads, width // self.heads)
        q, v = (layer(x).view(shape).transpose(1, 2) for layer in (self.query, self.value))
        distance = torch.cdist(q, q).square()
        attention = torch.softmax(-distance / math.sqrt(shape[-1]), dim=-1)
        mixed = torch.einsum("bhij,bhjd->bhid", attention, v)
        return self.out(mixed.transpose(1, 2).reshape(batch, count, width))


class DotAttention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads, self.qkv, self.out = heads, linear(width, 3 * width), linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        batch, count, width = x.shape
        q, k, v = self.qkv(x).view(batch, count, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        scores = torch.einsum("bhid,bhjd->bhij", q, k) / math.sqrt(width / self.heads)
        mixed = torch.einsum("bhij,bhjd->bhid", torch.softmax(scores, dim=-1), v)
        return self.out(mixed.transpose(1, 2).reshape(batch, count, width))


class SelfModulatedNorm(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.gamma, self.beta = linear(width, width, 0.25, bias=1.0), linear(width, width, 0.25)

    def forward(self, h: Tensor, w: Tensor) -> Tensor:
        return self.gamma(w).unsqueeze(1) * self.norm(h) + self.beta(w).unsqueeze(1)


class ModulatedLayer(nn.Module):
    """A weight of its own for every patch, w'_moi = s_mi w_oi, demodulated as ours is."""

    def __init__(self, fan_in: int, fan_out: int, width: int, demodulate: bool, gain: float = 1.0) -> None:
        super().__init__()
        self.demodulate, self.style = demodulate, linear(width, fan_in, bias=1.0)
        self.weight = nn.Parameter(torch.randn(fan_out, fan_in) * gain / math.sqrt(fan_in))
        self.bias = nn.Parameter(torch.zeros(fan_out))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        weight = self.weight * self.style(y).unsqueeze(1)  # [M, out, in]
        if self.demodulate:
            weight = weight * torch.rsqrt(weight.square().sum(-1, keepdim=True) + 1e-8)
        return torch.einsum("mpi,moi->mpo", x, weight) + self.bias


def mlp(layer: Callable[[int, int], nn.Module], width: int, ratio: int) -> nn.Sequential:
    return nn.Sequential(layer(width, ratio * width), nn.GELU(), layer(ratio * width, width))


class Generator(nn.Module):
    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = c = config.generator
        sizes = [c.z_dim] + [c.width] * c.mapping_layers
        layers = [linear(a, b, math.sqrt(2)) for a, b in itertools.pairwise(sizes)]
        self.mapping = nn.Sequential(*(part for layer in layers for part in (layer, nn.LeakyReLU(0.2))))
        self.position = linear(2, c.width, gain=3 * math.sqrt(2))
        self.norms = nn.ModuleList(SelfModulatedNorm(c.width) for _ in range(2 * c.blocks + 1))
        self.attentions = nn.ModuleList(DotAttention(c.width, c.heads) for _ in range(c.blocks))
        self.mlps = nn.ModuleList(mlp(linear, c.width, c.mlp_ratio) for _ in range(c.blocks))
        self.fourier = nn.Parameter(torch.randn(c.fourier_dim, 2) * c.fourier_std)
        self.first = ModulatedLayer(c.fourier_dim, c.siren_width, c.width, c.demodulate)
        self.second = ModulatedLayer(c.siren_width, c.siren_width, c.width, c.demodulate)
        self.rgb = ModulatedLayer(c.siren_width, 3, c.width, demodulate=False, gain=0.3)
        self.cells, self.pixels = nn.Buffer(cell_centres(c.grid)), nn.Buffer(cell_centres(c.patch))

    def forward(self, z: Tensor) -> Tensor:
        c, batch, p = self.config, len(z), self.config.patch
        w = self.mapping(F.rms_norm(z, z.shape[-1:]))
        h = torch.sin(self.position(self.cells)).repeat(batch, 1, 1)
        for i, (attention, feed_forward) in enumerate(zip(self.attentions, self.mlps, strict=True)):
            h = h + attention(self.norms[2 * i](h, w))
            h = h + feed_forward(self.norms[2 * i + 1](h, w))
        y = self.norms[-1](h, w).reshape(batch * c.grid**2, c.width)
        x = torch.sin(F.linear(self.pixels, self.fourier)).repeat(len(y), 1, 1)  # [M, P, F]
        x = torch.sin(self.second(torch.sin(self.first(x, y)), y))
        rgb = self.rgb(x, y).view(batch, c.grid, c.grid, p, p, 3)
        return rgb.permute(0, 5, 1, 3, 2, 4).reshape(batch, 3, c.resolution, c.resolution)


class Discriminator(nn.Module):
    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = c = config.discriminator
        self.embed = SpectralLinear(12 * c.patch**2, c.width)
        self.token = nn.Parameter(torch.randn(1, 1, c.width) * 0.5)
        self.position = nn.Parameter(torch.randn(1, 1 + (c.resolution // c.patch) ** 2, c.width) * 0.5)
        self.norms = nn.ModuleList(nn.LayerNorm(c.width) for _ in range(2 * c.blocks + 1))
        self.attentions = nn.ModuleList(L2Attention(c.width, c.heads, c.query_gain) for _ in range(c.blocks))
        self.mlps = nn.ModuleList(mlp(SpectralLinear, c.width, c.mlp_ratio) for _ in range(c.blocks))
        self.head = nn.Sequential(SpectralLinear(c.width, c.width), nn.GELU(), SpectralLinear(c.width, 1))

    def forward(self, images: Tensor) -> Tensor:
        p = self.config.patch
        h = self.embed(F.unfold(images, 2 * p, padding=p // 2, stride=p).transpose(1, 2))
        h = torch.cat((self.token.expand(len(h), -1, -1), h), dim=1) + self.position
        for i, (attention, feed_forward) in enumerate(zip(self.attentions, self.mlps, strict=True)):
            h = h + attention(self.norms[2 * i](h))
            h = h + feed_forward(self.norms[2 * i + 1](h))
        return self.head(self.norms[-1](h[:, 0])).squeeze(1)


def diff_augment(x: Tensor) -> Tensor:
    """Colour, translation and cutout, as DiffAugment publishes them."""
    batch, _, side, _ = x.shape
    x = x + (torch.rand(batch, 1, 1, 1) - 0.5)
    mean = x.mean(1, keepdim=True)
    x = (x - mean) * (torch.rand(batch, 1, 1, 1) * 2) + mean
    mean = x.mean((1, 2, 3), keepdim=True)
    x = (x - mean) * (torch.rand(batch, 1, 1, 1) + 0.5) + mean
    b, rows, columns = torch.meshgrid(*map(torch.arange, (batch, side, side)), indexing="ij")
    down, right = torch.randint(-(side // 8), side // 8 + 1, (2, batch, 1, 1))
    moved = [(rows + down + 1).clamp(0, side + 1), (columns + right + 1).clamp(0, side + 1)]
    x = F.pad(x, (1, 1, 1, 1)).permute(0, 2, 3, 1)[b, *moved].permute(0, 3, 1, 2)
    top, left = torch.randint(-(side // 4), side - side // 4 + 1, (2, batch, 1, 1))
    hole = (rows >= top) & (rows < top + side // 2) & (columns >= left) & (columns < left + side // 2)
    return x * ~hole.unsqueeze(1)


class ReferenceTrainer:
    def __init__(self, config: Config) -> None:
        self.config = config
        self.generator, self.discriminator = Generator(config), Discriminator(config)
        self.average = copy.deepcopy(self.generator)
        rate, betas = config.training.learning_rate, (config.training.beta1, config.training.beta2)
        self.adam_g = torch.optim.Adam(self.generator.parameters(), rate, betas)
        self.adam_d = torch.optim.Adam(self.discriminator.parameters(), rate, betas)

    def step(self, real: Tensor) -> tuple[float, float]:
        """One step of D, then of G, on pictures [B, 3, r, r] in -1..1; gives both logistic losses."""
        settings, d = self.config.training, self.discriminator
        fake = self.generator(torch.randn(len(real), self.config.generator.z_dim)).detach()
        t_real, t_fake = d(diff_augment(real)), d(diff_augment(fake))
        consistency = settings.bcr_real * F.mse_loss(d(real), t_real)
        consistency = consistency + settings.bcr_fake * F.mse_loss(d(fake), t_fake)
        loss_d = F.softplus(-t_real).mean() + F.softplus(t_fake).mean()
        self.adam_d.zero_grad()
        (loss_d + consistency).backward()
        self.adam_d.step()

        fake = self.generator(torch.randn(len(real), self.config.generator.z_dim))
        loss_g = F.softplus(-d(diff_augment(fake))).mean()
        self.adam_g.zero_grad()
        loss_g.backward()
        self.adam_g.step()
        for mean, now in zip(self.average.parameters(), self.generator.parameters(), strict=True):
            mean.data = mean.data * 0.999 + now.data * 0.001
        return loss_d.item(), loss_g.item()
