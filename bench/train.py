"""Pictures a second of the full training step, beside an eager reference and the machine's limit."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from bench.machine import Limits
from bench.reference import ReferenceTrainer
from model.config import Config, preset
from model.data import Pictures
from model.trainer import Trainer

CASES = (("vitgan-ti-32", 64, 5), ("vitgan-s-32", 16, 3))  # preset, batch, timed steps of each
TOP = 8  # operators of the profile


def run(limits: Limits) -> None:
    """Prints a line a case and the profile of the first, all on all cores."""
    torch.set_num_threads(limits.cores)
    for name, batch, steps in CASES:
        _compare(preset(name, batch), steps, limits)
    _profile(preset(*CASES[0][:2]))
    torch.set_num_threads(1)


def _compare(config: Config, steps: int, limits: Limits) -> None:
    pictures = _noise(config)
    ours = Trainer(config, seed=0, device=torch.device("cpu"))
    reference = ReferenceTrainer(config)
    real = pictures.batch(0, config.training.batch, seed=0)
    with FlopCounterMode(display=False) as counter:
        ours.step(pictures)
    reference.step(real)
    # A B A B: what else the machine does falls on both.
    pairs = [
        (_seconds(lambda: ours.step(pictures)), _seconds(lambda: reference.step(real))) for _ in range(steps)
    ]
    mine, theirs = (statistics.median(times) for times in zip(*pairs, strict=True))
    batch, flops = config.training.batch, counter.get_total_flops()
    print(
        f"{config.preset}, batch {batch}: {batch / mine:.1f} images/s, reference {batch / theirs:.1f}, "
        f"ratio {statistics.median(b / a for a, b in pairs):.2f} (medians of {steps}); "
        f"{flops / batch / 1e9:.2f} GFLOP an image, {flops / mine / limits.matmul:.0%} of the matmul limit"
    )


def _profile(config: Config) -> None:
    pictures, trainer = _noise(config), Trainer(config, seed=0, device=torch.device("cpu"))
    trainer.step(pictures)
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        trainer.step(pictures)
    rows = sorted(seen.key_averages(), key=lambda row: -row.self_cpu_time_total)
    total = sum(row.self_cpu_time_total for row in rows)
    shares = ", ".join(
        f"{row.key.removeprefix('aten::')} {row.self_cpu_time_total / total:.0%}" for row in rows[:TOP]
    )
    print(f"where a step's time goes: {shares}")


def _noise(config: Config) -> Pictures:
    side = config.generator.resolution * config.training.oversample
    images = torch.randint(0, 256, (256, 3, side, side), dtype=torch.uint8)
    return Pictures(images, config.generator.resolution)


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
