"""What a training will cost, found by doing three steps of it."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from model.config import Config
from model.data import Pictures
from model.devices import Devices, peak_memory
from model.start import Start
from model.trainer import Trainer

STEPS = 3


@dataclass(frozen=True)
class Plan:
    """Sizes and speed of a training on this machine."""

    generator_parameters: int
    discriminator_parameters: int
    flops_per_image: float  # products of the whole step, forward and backward, over the batch
    memory_bytes: int  # peak of the device's memory, or of this process on a CPU
    images_per_second: float

    @property
    def kimg_per_hour(self) -> float:
        """Thousand pictures an hour at the timed speed."""
        return self.images_per_second * 3.6


def plan(
    config: Config,
    pictures: Pictures,
    *,
    device: str = "cpu",
    compiler: str = "off",
    start: Start | None = None,
) -> Plan:
    """Builds both networks, counts a step's products, times three steps; nothing is kept.

    Raises ``ValueError`` as ``train`` does.
    """
    devices = Devices(device)
    trainer = Trainer(config, 0, devices.local, devices=devices, compiler=compiler, start=start)
    trainer.step(pictures)  # the first step, where kernels warm up and compile, is not timed
    flops, seconds = _cost(trainer, pictures)
    if config.training.r1 and config.training.r1_every > 1:  # the steps timed so far had no R1
        trainer.images_seen = 0
        more_flops, more_seconds = _cost(trainer, pictures, steps=1)
        flops += (more_flops - flops) / config.training.r1_every
        seconds += max(0.0, more_seconds - seconds) / config.training.r1_every
    devices.close()
    batch = config.training.batch
    return Plan(
        generator_parameters=_size(trainer.generator),
        discriminator_parameters=_size(trainer.discriminator),
        flops_per_image=flops / batch,
        memory_bytes=peak_memory(devices.local),
        images_per_second=batch / seconds,
    )


def _cost(trainer: Trainer, pictures: Pictures, steps: int = STEPS) -> tuple[float, float]:
    """Products and seconds of a step: the mean of the next few, and a last one whose products are counted."""
    _settle(trainer.device)
    started = time.perf_counter()
    for _ in range(steps):
        trainer.step(pictures)
    _settle(trainer.device)
    seconds = (time.perf_counter() - started) / steps
    trainer.images_seen -= trainer.config.training.batch  # again, as it was
    with FlopCounterMode(display=False) as counter:
        trainer.step(pictures)
    return counter.get_total_flops(), seconds


def _size(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def _settle(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
