from __future__ import annotations

import pytest
import torch
from torch import Tensor

from model.evaluation.precision_recall import precision_recall


def covered(points: Tensor, centres: Tensor, k: int) -> float:
    """The share of points inside a centre's ball, pair by pair."""
    radii = []
    for i, one in enumerate(centres):
        others = [float((one - other).norm()) for j, other in enumerate(centres) if i != j]
        radii.append(sorted(others)[k - 1])
    inside = [
        any(float((point - one).norm()) <= radius for one, radius in zip(centres, radii, strict=True))
        for point in points
    ]
    return sum(inside) / len(inside)


@pytest.mark.parametrize("k", [1, 3])
def test_both_agree_with_loops_over_all_pairs(k: int) -> None:
    reals = torch.randn(60, 3).double()
    fakes = 0.8 * torch.randn(40, 3).double() + 1.2
    precision, recall = precision_recall(reals, fakes, k)
    assert precision == pytest.approx(covered(fakes, reals, k))
    assert recall == pytest.approx(covered(reals, fakes, k))
    assert len({0.0, precision, recall, 1.0}) == 4  # neither is trivial, and they are told apart


def test_fakes_of_one_of_two_clusters_are_precise_and_recall_half() -> None:
    line = torch.arange(10.0)[:, None]
    reals = torch.cat((line, line + 100))
    assert precision_recall(reals, line + 0.25) == (1.0, 0.5)


def test_far_fakes_have_neither_and_equal_sets_have_both() -> None:
    reals = torch.randn(20, 4)
    assert precision_recall(reals, reals + 1000) == (0.0, 0.0)
    assert precision_recall(reals, reals.clone()) == (1.0, 1.0)


def test_parts_of_the_distance_matrix_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    reals, fakes = torch.randn(50, 3), 0.7 * torch.randn(30, 3) + 0.5
    whole = precision_recall(reals, fakes)
    monkeypatch.setattr("model.evaluation.precision_recall.ROWS", 7)
    assert precision_recall(reals, fakes) == whole


def test_a_set_without_a_third_neighbour_is_refused() -> None:
    with pytest.raises(ValueError, match="20 reals and 3 fakes: give more than k = 3"):
        precision_recall(torch.randn(20, 2), torch.randn(3, 2))
