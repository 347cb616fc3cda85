"""One of several processes that share a step: reads the case, steps once, writes its gradients."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from model.config import Config
from model.data import Pictures
from model.devices import Devices
from model.trainer import Trainer


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    case = torch.load(folder / "case.pt", weights_only=True)
    devices = Devices("cpu")
    trainer = Trainer(Config.from_dict(case["config"]), 5, torch.device("cpu"), devices=devices)
    trainer.step(Pictures(case["images"], resolution=16))
    found = {
        f"{part}.{name}": parameter.grad
        for part in ("generator", "discriminator")
        for name, parameter in getattr(trainer, part).named_parameters()
    }
    torch.save(found, folder / f"gradients-{devices.rank}.pt")
    assert devices.any(devices.first)
    assert not devices.any(False)
    devices.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
