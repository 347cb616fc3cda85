"""Pictures a second of the full training step, and its share of the machine's matrix products."""

from __future__ import annotations

import time

import torch
from torch.utils.flop_counter import FlopCounterMode

from bench.machine import Limits
from model.config import preset
from model.data import Pictures
from model.training import Trainer

STEPS = 6


def run(limits: Limits) -> None:
    """Prints one line: all cores, batch and recipe of the preset."""
    torch.set_num_threads(limits.cores)
    config = preset("vitgan-ti-32")
    side = config.generator.resolution * config.training.oversample
    pictures = Pictures(
        torch.randint(0, 256, (256, 3, side, side), dtype=torch.uint8), config.generator.resolution
    )
    trainer = Trainer(config, seed=0, device=torch.device("cpu"))
    with FlopCounterMode(display=False) as counter:
        trainer.step(pictures)
    flops = counter.get_total_flops()
    times = []
    for _ in range(STEPS):
        started = time.perf_counter()
        trainer.step(pictures)
        times.append(time.perf_counter() - started)
    speed = config.training.batch / min(times)
    share = flops / min(times) / limits.matmul
    print(
        f"{speed:.1f} images/s (best of {STEPS} steps), "
        f"{flops / config.training.batch / 1e9:.2f} GFLOP an image, "
        f"{share:.0%} of the 64-wide matmul limit"
    )
    torch.set_num_threads(1)
