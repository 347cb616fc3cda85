from __future__ import annotations

import pytest
import torch
from torch import nn

from model.config import Config
from model.ema import ema_decay, ema_update
from model.generator import Generator


def test_average_has_the_closed_form() -> None:
    average, source = nn.Linear(2, 2), nn.Linear(2, 2)
    start, decay = average.weight.detach().clone(), 0.9
    seen = []
    for _ in range(5):
        nn.init.normal_(source.weight)
        seen.append(source.weight.detach().clone())
        ema_update(average, source, decay)
    weights = [0.1 * decay ** (4 - k) for k in range(5)]
    expected = decay**5 * start + sum(a * w for a, w in zip(weights, seen, strict=True))
    torch.testing.assert_close(average.weight.detach(), expected)
    assert torch.equal(source.weight, seen[-1])


@torch.no_grad()
def test_every_parameter_is_averaged(tiny: Config) -> None:
    average, source = Generator(tiny.generator), Generator(tiny.generator)
    for parameter in average.parameters():
        nn.init.zeros_(parameter)
    for parameter in source.parameters():
        nn.init.ones_(parameter)
    ema_update(average, source, decay=0.75)
    assert {float(value) for p in average.parameters() for value in p.flatten()} == {0.25}


def test_half_of_the_average_is_gone_after_its_half_life() -> None:
    kept = 1.0
    for step in range(100):
        kept *= ema_decay(64, 10_000_000 + 64 * step, half_life_kimg=6.4, rampup=0.05)
    assert kept == pytest.approx(0.5)


def test_early_on_the_half_life_is_a_share_of_what_was_seen() -> None:
    # 5% of 2560 pictures are 128, two batches of 64: sqrt(1/2) is kept in one step.
    assert ema_decay(64, 2560, half_life_kimg=20, rampup=0.05) == pytest.approx(0.5**0.5)
    assert ema_decay(64, 64, half_life_kimg=20, rampup=0.05) == pytest.approx(0.5**20)


def test_ramp_up_ends_at_the_half_life() -> None:
    seen = [100, 1_000, 10_000, 100_000, 400_000, 500_000, 10**9]
    decays = [ema_decay(64, n, half_life_kimg=20, rampup=0.05) for n in seen]
    assert decays == sorted(decays)
    assert decays[-3:] == [pytest.approx(0.5 ** (64 / 20_000))] * 3
