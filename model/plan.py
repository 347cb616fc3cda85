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
from model.generator import Generator
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
    start: Generator | None = None,
) -> Plan:
    """Builds both networks, counts one step's products, times three steps; nothing is kept.

    Raises ``ValueError`` as ``train`` does.
    """
    devices = Devices(device)
    trainer = Trainer(config, 0, devices.local, devices=devices, compiler=compiler, start=start)
    with FlopCounterMode(display=False) as counter:
        trainer.step(pictures)  # the first step, where kernels warm up and compile, is not timed
    _settle(devices.local)
    started = time.perf_counter()
    for _ in range(STEPS):
        trainer.step(pictures)
    _settle(devices.local)
    seconds = time.perf_counter() - started
    devices.close()
    batch = config.training.batch
    return Plan(
        generator_parameters=_size(trainer.generator),
        discriminator_parameters=_size(trainer.discriminator),
        flops_per_image=counter.get_total_flops() / batch,
        memory_bytes=peak_memory(devices.local),
        images_per_second=STEPS * batch / seconds,
    )


def _size(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def _settle(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
