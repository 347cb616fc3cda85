"""An eager training step of the same ViTGAN as public re-implementations write it, to measure ours against.

Separate discriminator passes for real, generated and their augmented twins; power iteration in every forward
call; distances materialised for L2 attention; per-patch SIREN weights; the average kept in a Python loop. The
sizes, the losses and the batch are ours, and so are the initial weights' scales.
"""

from __future__ import annotations

import copy
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.config import Config


class SpectralLinear(nn.Module):
    """Improved spectral normalisation with a power iteration a call."""

    def __init__(self, fan_in: int, fan_out: int, gain: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(fan_out, fan_in) * gain / math.sqrt(fan_in))
        self.bias = nn.Parameter(torch.zeros(fan_out))
        self.register_buffer("u", torch.randn(fan_out))
        self.register_buffer("sigma_init", torch.linalg.matrix_norm(self.weight.detach(), 2))

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
        self.heads, self.qkv, self.out = heads, nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        batch, count, width = x.shape
        q, k, v = self.qkv(x).view(batch, count, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        scores = torch.einsum("bhid,bhjd->bhij", q, k) / math.sqrt(width / self.heads)
        mixed = torch.einsum("bhij,bhjd->bhid", torch.softmax(scores, dim=-1), v)
        return self.out(mixed.transpose(1, 2).reshape(batch, count, width))


class SLN(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.gamma, self.beta = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, h: Tensor, w: Tensor) -> Tensor:
        return (1 + self.gamma(w)).unsqueeze(1) * self.norm(h) + self.beta(w).unsqueeze(1)


class ModulatedLayer(nn.Module):
    """A weight of its own for every patch: w'_mij = s_mj w_ij, demodulated as ours is."""

    def __init__(self, fan_in: int, fan_out: int, width: int, demodulate: bool) -> None:
        super().__init__()
        self.demodulate, self.style = demodulate, nn.Linear(width, fan_in)
        self.weight = nn.Parameter(torch.randn(fan_out, fan_in) / math.sqrt(fan_in))
        self.bias = nn.Parameter(torch.zeros(fan_out))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        weight = self.weight * (1 + self.style(y)).unsqueeze(1)  # [M, out, in]
        if self.demodulate:
            weight = weight * torch.rsqrt(weight.square().sum(-1, keepdim=True) + 1e-8)
        return torch.einsum("mpi,moi->mpo", x, weight) + self.bias


class Generator(nn.Module):
    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = c = config.generator
        sizes = [c.z_dim] + [c.width] * c.mapping_layers
        self.mapping = nn.Sequential(
            *(part for i in range(c.mapping_layers)
              for part in (nn.Linear(sizes[i], sizes[i + 1]), nn.LeakyReLU(0.2)))
        )  # fmt: skip
        self.position = nn.Linear(2, c.width)
        self.norms = nn.ModuleList(SLN(c.width) for _ in range(2 * c.blocks + 1))
        self.attentions = nn.ModuleList(DotAttention(c.width, c.heads) for _ in range(c.blocks))
        self.mlps = nn.ModuleList(_mlp(nn.Linear, c.width, c.mlp_ratio) for _ in range(c.blocks))
        self.fourier = nn.Parameter(torch.randn(c.fourier_dim, 2) * c.fourier_std)
        self.first = ModulatedLayer(c.fourier_dim, c.siren_width, c.width, c.demodulate)
        self.second = ModulatedLayer(c.siren_width, c.siren_width, c.width, c.demodulate)
        self.rgb = ModulatedLayer(c.siren_width, 3, c.width, False)

    def forward(self, z: Tensor) -> Tensor:
        c, batch, p = self.config, len(z), self.config.patch
        w = self.mapping(z)
        h = torch.sin(self.position(_positions(c.grid))).repeat(batch, 1, 1)
        for i, (attention, mlp) in enumerate(zip(self.attentions, self.mlps, strict=True)):
            h = h + attention(self.norms[2 * i](h, w))
            h = h + mlp(self.norms[2 * i + 1](h, w))
        y = self.norms[-1](h, w).reshape(batch * c.grid**2, c.width)
        x = torch.sin(F.linear(_positions(p), self.fourier)).repeat(len(y), 1, 1)  # [M, P, F]
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
        self.mlps = nn.ModuleList(_mlp(SpectralLinear, c.width, c.mlp_ratio) for _ in range(c.blocks))
        self.head = nn.Sequential(SpectralLinear(c.width, c.width), nn.GELU(), SpectralLinear(c.width, 1))

    def forward(self, images: Tensor) -> Tensor:
        p = self.config.patch
        h = self.embed(F.unfold(images, 2 * p, padding=p // 2, stride=p).transpose(1, 2))
        h = torch.cat((self.token.expand(len(h), -1, -1), h), dim=1) + self.position
        for i, (attention, mlp) in enumerate(zip(self.attentions, self.mlps, strict=True)):
            h = h + attention(self.norms[2 * i](h))
            h = h + mlp(self.norms[2 * i + 1](h))
        return self.head(self.norms[-1](h[:, 0])).squeeze(1)


def _mlp(layer: type, width: int, ratio: int) -> nn.Sequential:
    return nn.Sequential(layer(width, ratio * width), nn.GELU(), layer(ratio * width, width))


def _positions(side: int) -> Tensor:
    line = (torch.arange(side) + 0.5) * 2 / side - 1
    y, x = torch.meshgrid(line, line, indexing="ij")
    return torch.stack((x.flatten(), y.flatten()), dim=-1)


def diff_augment(x: Tensor) -> Tensor:
    """Colour, translation and cutout, as DiffAugment publishes them."""
    batch, _, side, _ = x.shape
    x = x + (torch.rand(batch, 1, 1, 1) - 0.5)
    mean = x.mean(1, keepdim=True)
    x = (x - mean) * (torch.rand(batch, 1, 1, 1) * 2) + mean
    mean = x.mean((1, 2, 3), keepdim=True)
    x = (x - mean) * (torch.rand(batch, 1, 1, 1) + 0.5) + mean
    reach, half, line = side // 8, side // 2, torch.arange(side)
    move = torch.randint(-reach, reach + 1, (2, batch, 1, 1))
    b, rows, columns = torch.meshgrid(torch.arange(batch), line, line, indexing="ij")
    rows, columns = (
        (place + m + 1).clamp(0, side + 1) for place, m in zip((rows, columns), move, strict=True)
    )
    x = F.pad(x, (1, 1, 1, 1)).permute(0, 2, 3, 1)[b, rows, columns].permute(0, 3, 1, 2)
    corner = torch.randint(0, side + 1, (2, batch, 1, 1)) - half // 2
    inside = [(line.view(shape) >= c) & (line.view(shape) < c + half)
              for c, shape in zip(corner, ((1, side, 1), (1, 1, side)), strict=True)]  # fmt: skip
    return x * (~(inside[0] & inside[1])).unsqueeze(1)


class ReferenceTrainer:
    """One step, as it is commonly written."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.generator, self.discriminator = Generator(config), Discriminator(config)
        self.average = copy.deepcopy(self.generator)
        rate, betas = config.training.learning_rate, (config.training.beta1, config.training.beta2)
        self.adam_g = torch.optim.Adam(self.generator.parameters(), rate, betas)
        self.adam_d = torch.optim.Adam(self.discriminator.parameters(), rate, betas)

    def step(self, real: Tensor) -> tuple[float, float]:
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
