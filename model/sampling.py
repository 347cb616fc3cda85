"""Seeds to latents, and the fixed grid of seeds that a training shows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from model.generator import Generator

# A matrix product's row has the same bits in every batch of 16 rows or more; with fewer the CPU's kernels
# differ. MKL's kernels for CPUs without AVX2 also treat rows beyond a multiple of four in another way, and
# those for AVX2 rows beyond a multiple of six, unless MKL_CBWR ends in STRICT (worker/arithmetic.py). Styles
# have one row an image, so batches are padded to these numbers.
STABLE_ROWS, ROWS_TOGETHER = 16, 4


def latent(seed: int, z_dim: int) -> Tensor:
    """StyleGAN's convention: ``RandomState(seed).randn(z_dim)``, seed in 0..2**32-1; [z_dim] float32."""
    return torch.from_numpy(np.random.RandomState(seed).randn(z_dim)).float()


def latents(seeds: Sequence[int], z_dim: int) -> Tensor:
    """One latent a seed: [B, z_dim]."""
    return torch.stack([latent(seed, z_dim) for seed in seeds])


@torch.inference_mode()
def styles(generator: Generator, z: Tensor) -> Tensor:
    """Latents [B, z_dim] to styles w [B, D], each the same to the bit whatever else is in the batch."""
    w = generator.mapping(_padded(z))
    return w[: len(z)]


@torch.inference_mode()
def style_tokens(generator: Generator, w: Tensor, truncations: Sequence[float]) -> Tensor:
    """Styles [B, D], truncated, to tokens [B, L, D]; the same promise."""
    psi = torch.tensor(truncations, dtype=torch.float32)
    return generator.tokens(_padded(generator.truncate(w, psi)), count=len(w))


def sample_tokens(generator: Generator, seeds: Sequence[int], truncations: Sequence[float]) -> Tensor:
    """Tokens [B, L, D] of those seeds; the same promise."""
    return style_tokens(generator, styles(generator, latents(seeds, generator.config.z_dim)), truncations)


def _padded(rows: Tensor) -> Tensor:
    """Rows of ones below, up to ``STABLE_ROWS`` and a multiple of ``ROWS_TOGETHER``."""
    spare = max(STABLE_ROWS - len(rows), -len(rows) % ROWS_TOGETHER)
    return F.pad(rows, (0, 0, 0, spare), value=1.0)


@torch.no_grad()
def native_pictures(generator: Generator, seeds: Sequence[int], batch: int = 50) -> Tensor:
    """Those seeds at the native resolution, clamped to -1..1: [len(seeds), 3, r, r] on the CPU."""
    device = generator.w_mean.device
    z = latents(seeds, generator.config.z_dim).to(device)
    return torch.cat([generator(part).clamp(-1, 1).float().cpu() for part in torch.split(z, batch)])


def grid_image(pictures: Tensor, columns: int, zoom: int = 1) -> Image.Image:
    """Pictures [B, 3, r, r] in -1..1 laid out row by row, each pixel drawn ``zoom`` wide."""
    rows = -(-len(pictures) // columns)
    side = pictures.shape[-1]
    sheet = torch.full((rows * columns, 3, side, side), 1.0)
    sheet[: len(pictures)] = pictures
    sheet = sheet.view(rows, columns, 3, side, side).permute(0, 3, 1, 4, 2)  # [rows, y, columns, x, 3]
    array = quantise(sheet).reshape(rows * side, columns * side, 3).numpy()
    image = Image.fromarray(array)
    return image.resize((image.width * zoom, image.height * zoom), Image.Resampling.NEAREST)


def quantise(values: Tensor) -> Tensor:
    """-1..1 to the nearest of 0..255, in place where it can be; what lies outside is clamped."""
    return values.mul(127.5).add_(127.5).round_().clamp_(0, 255).to(torch.uint8)
