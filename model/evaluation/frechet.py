"""Frechet distance of two sets of feature vectors, taken as Gaussians.

Heusel et al. 2017, *GANs trained by a two time-scale update rule*; the formula is Dowson and Landau's (1982).
"""

from __future__ import annotations

import torch
from torch import Tensor


def frechet_distance(a: Tensor, b: Tensor) -> float:
    """|mu_a - mu_b|^2 + tr(S_a + S_b - 2 (S_a S_b)^(1/2)) of rows [N, d] and [M, d], N and M of 2 or more.

    With R = S_a^(1/2), the roots of S_a S_b's eigenvalues are those of the symmetric R S_b R, so that one
    symmetric eigenproblem gives the trace, real and never negative.
    """
    (mean_a, cov_a), (mean_b, cov_b) = _moments(a), _moments(b)
    root = _root(cov_a)
    overlap = torch.linalg.eigvalsh(root @ cov_b @ root).clamp_min(0).sqrt().sum()
    distance = (mean_a - mean_b).square().sum() + cov_a.trace() + cov_b.trace() - 2 * overlap
    return max(0.0, float(distance))  # rounding alone brings it below 0


def _moments(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Mean [d] and covariance [d, d] in float64."""
    mean = rows.double().mean(0)
    centred = rows.double() - mean
    return mean, centred.T @ centred / (len(rows) - 1)


def _root(matrix: Tensor) -> Tensor:
    """The symmetric square root of a symmetric matrix without negative eigenvalues."""
    values, vectors = torch.linalg.eigh(matrix)
    return (vectors * values.clamp_min(0).sqrt()) @ vectors.T
