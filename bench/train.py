"""Pictures a second of the full training step, beside an eager reference and the machine's limit.

The reference is given its batch; ours reads its own from pictures kept finer, as in a training. ::

    python -m bench.train
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from bench import machine
from bench.machine import Limits
from bench.reference import ReferenceTrainer
from model.config import Config
from model.data import Pictures
from model.presets import preset
from model.trainer import Trainer

CASES = (("vitgan-ti-32", 64, 5), ("vitgan-s-32", 16, 3))  # preset, batch, timed steps of each
TOP = 8  # operators of a profile


def run(limits: Limits) -> None:
    """Prints for each case both speeds on one thread and on all cores, and where the time of ours goes."""
    for name, batch, steps in CASES:
        config = preset(name, batch).with_setting("generator.overlap=0")  # as the reference paints
        pictures, ours, reference = _noise(config), _trainer(config), ReferenceTrainer(config)
        flops = _flops(ours, pictures)
        print(f"{name}, batch {batch}: {flops / batch / 1e9:.2f} GFLOP an image", flush=True)
        for threads in sorted({1, limits.cores}):
            torch.set_num_threads(threads)
            _compare(ours, reference, pictures, steps, flops)
        _profile(ours, pictures)
    torch.set_num_threads(1)


def _compare(ours: Trainer, reference: ReferenceTrainer, pictures: Pictures, steps: int, flops: int) -> None:
    """Steps of both by turns, so that what else the machine does falls on both."""
    batch, threads = ours.config.training.batch, torch.get_num_threads()
    square = torch.randn(1024, 1024)
    limit = 2 * 1024**3 / machine.best(lambda: square @ square, times=3)  # FLOP/s
    real = pictures.batch(0, batch, seed=0)
    reference.step(real)  # warms up; ours did where its operations were counted
    times = []
    for _ in range(steps):
        times.append(_seconds(lambda: ours.step(pictures)) + _seconds(lambda: reference.step(real)))
        print("  ours {:.2f} s (CPU {:.2f}), reference {:.2f} s (CPU {:.2f})".format(*times[-1]), flush=True)
    mine, mine_cpu, theirs, theirs_cpu = (statistics.median(column) for column in zip(*times, strict=True))
    print(
        f"{threads} threads: {batch / mine:.1f} images/s, reference {batch / theirs:.1f}, "
        f"ratio of medians {theirs / mine:.2f}, of CPU time {theirs_cpu / mine_cpu:.2f}; "
        f"{flops / mine / 1e9:.0f} GFLOP/s, {flops / mine / limit:.0%} of matmul 1024^3"
    )


def _flops(trainer: Trainer, pictures: Pictures) -> int:
    """Operations of one step's products, a multiplication and an addition as two."""
    # The counter knows no fused attention on a CPU; the plain kernel has the same products.
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        trainer.step(pictures)
    return int(counter.get_total_flops())


def _profile(trainer: Trainer, pictures: Pictures) -> None:
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        trainer.step(pictures)
    rows = sorted(seen.key_averages(), key=lambda row: -row.self_cpu_time_total)
    total = sum(row.self_cpu_time_total for row in rows)
    print("  share    ms  calls  operator")
    for row in rows[:TOP]:
        spent = row.self_cpu_time_total  # microseconds
        print(f"  {spent / total:5.1%} {spent / 1e3:5.0f} {row.count:6d}  {row.key}")


def _trainer(config: Config) -> Trainer:
    return Trainer(config, seed=0, device=torch.device("cpu"))


def _noise(config: Config) -> Pictures:
    side = config.generator.resolution * config.training.oversample
    images = torch.randint(0, 256, (256, 3, side, side), dtype=torch.uint8)
    return Pictures(images, config.generator.resolution)


def _seconds(work: Callable[[], object]) -> tuple[float, float]:
    """By the clock, and of all cores' time: the second holds on a busy machine too."""
    started, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - started, time.process_time() - cpu


if __name__ == "__main__":
    run(machine.measure())
