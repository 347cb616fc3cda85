from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from model.evaluation.frechet import frechet_distance


def gaussian(mean: Tensor, factor: Tensor, count: int = 300) -> Tensor:
    """Rows whose mean and covariance are ``mean`` and ``factor factor^T`` to the last digits."""
    rows = torch.randn(count, len(mean), dtype=torch.float64)
    rows -= rows.mean(0)
    white = torch.linalg.solve_triangular(
        torch.linalg.cholesky(rows.T @ rows / (count - 1)), rows.T, upper=False
    )
    return (factor @ white).T + mean


def test_independent_components_differ_by_their_means_and_deviations() -> None:
    a = gaussian(torch.tensor([1.0, 2.0, 3.0]), torch.diag(torch.tensor([1.0, 2.0, 0.5])).double())
    b = gaussian(torch.tensor([1.0, 0.0, 4.0]), torch.diag(torch.tensor([3.0, 2.0, 1.0])).double())
    means, deviations = 0 + 4 + 1, (1 - 3) ** 2 + 0 + (0.5 - 1) ** 2
    assert frechet_distance(a, b) == pytest.approx(means + deviations)


def test_two_correlated_gaussians_of_the_plane_agree_with_the_closed_form() -> None:
    one = torch.tensor([[2.0, 0.0], [1.0, 0.5]]).double()
    two = torch.tensor([[1.0, -0.7], [0.3, 1.5]]).double()
    s_one, s_two = one @ one.T, two @ two.T
    product = s_one @ s_two  # of a 2 x 2 matrix M, tr M^(1/2) = (tr M + 2 (det M)^(1/2))^(1/2)
    root_trace = math.sqrt(product.trace() + 2 * math.sqrt(product.det()))
    expected = float(s_one.trace() + s_two.trace()) - 2 * root_trace
    zero = torch.zeros(2)
    assert frechet_distance(gaussian(zero, one), gaussian(zero, two)) == pytest.approx(expected)


def test_it_is_0_for_equal_sets_also_with_fewer_rows_than_columns() -> None:
    for rows in (torch.randn(200, 24), torch.randn(10, 24)):
        assert frechet_distance(rows, rows.clone()) == pytest.approx(0, abs=1e-5)


def test_it_is_the_same_both_ways_and_to_the_bit_each_time() -> None:
    a, b = torch.randn(100, 16), torch.randn(80, 16) @ torch.randn(16, 16)
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a), rel=1e-9)
    assert frechet_distance(a, b) == frechet_distance(a.clone(), b.clone())


def test_a_set_moved_is_as_far_as_the_square_of_the_move() -> None:
    a = torch.randn(50, 4).double()
    move = torch.tensor([1.0, -2.0, 0.0, 2.0])
    assert frechet_distance(a, a + move) == pytest.approx(9)
