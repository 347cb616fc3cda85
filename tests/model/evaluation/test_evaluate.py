from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from dataclasses import asdict

import pytest
import torch
from torch import Tensor

from model.evaluation.evaluate import blurred, evaluate, split, unit
from model.evaluation.features import features
from model.evaluation.frechet import frechet_distance
from model.evaluation.precision_recall import precision_recall
from model.evaluation.swd import swd
from model.generator import Generator
from model.sampling import native_pictures, quantise


def test_the_same_arguments_give_the_same_bytes_and_another_seed_others(
    generator: Generator, drawn: Callable[..., Tensor]
) -> None:
    reals = drawn(48, side=16)
    one, two, other = (json.dumps(asdict(evaluate(generator, reals, 24, seed))) for seed in (0, 0, 1))
    assert one == two
    assert one != other


def test_each_measure_is_of_the_first_seeds_against_one_half_of_the_reals(
    served: Generator, drawn: Callable[..., Tensor]
) -> None:
    reals = drawn(40)
    report = evaluate(served, reals, 16, seed=3)
    assert (report.count, report.resolution, report.seed) == (16, 32, 3)
    reference, other = unit(reals[split(40, 16, 3)]).chunk(2)
    fakes = unit(quantise(native_pictures(served, range(16))))
    noise = torch.randint(0, 256, other.shape, generator=torch.Generator().manual_seed(3), dtype=torch.uint8)
    soft = unit(quantise(blurred(other)))
    for name, pictures in {
        "model": fakes,
        "other_half": other,
        "noise": unit(noise),
        "blurred": soft,
    }.items():
        row, bands = report.rows[name], swd(pictures, reference, seed=3)
        expected = {
            "swd_32": bands[32],
            "swd_16": bands[16],
            "swd": (bands[32] + bands[16]) / 2,
            "fcd": frechet_distance(features(pictures), features(reference)),
        }
        expected["precision"], expected["recall"] = precision_recall(features(reference), features(pictures))
        assert row == pytest.approx(expected, rel=1e-3)


def test_the_other_half_is_nearer_than_blurred_pictures_and_these_than_noise(
    generator: Generator, drawn: Callable[..., Tensor]
) -> None:
    rows = evaluate(generator, drawn(160, side=16), 80).rows
    for measure in ("swd", "fcd"):
        assert rows["other_half"][measure] < rows["blurred"][measure] < rows["noise"][measure]
    for measure in ("precision", "recall"):
        assert rows["other_half"][measure] > rows["noise"][measure] == 0


def test_numbers_have_four_significant_digits(generator: Generator, drawn: Callable[..., Tensor]) -> None:
    rows = evaluate(generator, drawn(20, side=16), 10).rows
    values = [value for row in rows.values() for value in row.values() if value]
    assert all(value == round(value, 3 - math.floor(math.log10(abs(value)))) for value in values)
    assert any(value != round(value, 2 - math.floor(math.log10(abs(value)))) for value in values)


def test_bytes_and_floats_of_the_same_pictures_are_measured_alike_and_left_as_they_were(
    generator: Generator, drawn: Callable[..., Tensor]
) -> None:
    reals = drawn(20, side=16)
    floats = unit(reals)
    assert evaluate(generator, floats, 10) == evaluate(generator, reals, 10)
    assert torch.equal(floats, unit(reals))


def test_a_split_is_of_two_sets_without_a_common_picture() -> None:
    chosen = split(100, 30, seed=0)
    assert len(set(chosen.tolist())) == 60
    assert torch.equal(chosen, split(100, 30, seed=0))
    assert not torch.equal(chosen, split(100, 30, seed=1))
    assert sorted(split(21, 1000, seed=0).tolist()) != list(range(20))  # one is left out, but not the last
    assert len(split(21, 1000, seed=0)) == 20


@pytest.mark.parametrize(("total", "count"), [(100, 3), (7, 100)])
def test_too_few_pictures_are_refused(total: int, count: int) -> None:
    with pytest.raises(ValueError, match=f"count is {count}, of {total} pictures: give 4 or more"):
        split(total, count, seed=0)


def test_reals_of_another_side_are_refused(generator: Generator, drawn: Callable[..., Tensor]) -> None:
    with pytest.raises(ValueError, match="reals of 32 px: give the generator's side, 16 px"):
        evaluate(generator, drawn(20), 10)


def test_a_blur_is_a_gaussian() -> None:
    picture = torch.zeros(1, 3, 33, 33)
    picture[0, 1, 16, 16] = 1
    soft = blurred(picture, sigma=2.0)
    line = [math.exp(-(n**2) / 8) for n in range(-6, 7)]
    for y, x in ((16, 16), (16, 18), (13, 20)):
        expected = line[y - 10] * line[x - 10] / sum(line) ** 2
        assert soft[0, 1, y, x].item() == pytest.approx(expected, rel=1e-5)
    assert soft[0, 0].abs().max() == 0
    plain = torch.full((1, 3, 16, 16), 0.7)
    torch.testing.assert_close(blurred(plain), plain)  # to the border


def test_without_torchmetrics_a_sentence_says_so_and_the_other_measures_come_out(
    generator: Generator, drawn: Callable[..., Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torchmetrics", None)  # as if it were not installed
    reals = drawn(20, side=16)
    report = evaluate(generator, reals, 10, fid=True)
    (note,) = report.notes
    assert note.startswith("FID and KID are left out, their packages do not load")
    assert "pip install -e '.[fid]'" in note
    assert report.rows == evaluate(generator, reals, 10).rows
