"""Trains the classifier whose features the measures use.

``python -m model.evaluation.train_features TRAIN.zip TEST.zip OUT``, with zips of class folders of
32 x 32 pictures. The same zips give the same weights on the same machine with as many threads.
"""

from __future__ import annotations

import argparse
import io
import logging
import time
import zipfile
from pathlib import Path, PurePosixPath

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor

from model.checkpoint import write_atomically
from model.evaluation.features import SIDE, FeatureNet

EPOCHS = 14
BATCH = 256
LEARNING_RATE = 0.2  # the highest; after a tenth of the steps it falls along a cosine to 0
WEIGHT_DECAY = 5e-4
SMOOTHING = 0.1  # of the labels
SHIFT = 3  # pixels, the farthest a picture is moved each way
SEED = 0


def read_classes(archive: Path) -> tuple[Tensor, Tensor]:
    """A zip of class folders to pictures [N, 32, 32, 3] uint8 and labels [N], classes by name.

    Raises ``ValueError`` if a picture has another size.
    """
    pictures, folders = [], []
    with zipfile.ZipFile(archive) as file:
        for name in sorted(n for n in file.namelist() if not n.endswith("/")):
            picture = np.asarray(Image.open(io.BytesIO(file.read(name))).convert("RGB"))
            if picture.shape != (SIDE, SIDE, 3):
                raise ValueError(f"{archive}: {name} is not {SIDE} x {SIDE} pixels: give CIFAR-10's own size")
            pictures.append(picture)
            folders.append(PurePosixPath(name).parent.name)
    number = {folder: n for n, folder in enumerate(sorted(set(folders)))}
    return torch.from_numpy(np.stack(pictures)), torch.tensor([number[folder] for folder in folders])


def scaled(pictures: Tensor) -> Tensor:
    """Bytes [B, y, x, 3] to -1..1 [B, 3, y, x], channels last in memory, where CPUs convolve fastest."""
    return pictures.permute(0, 3, 1, 2).float().div_(127.5).sub_(1)


def moved(pictures: Tensor, draw: torch.Generator) -> Tensor:
    """Each of [B, 32, 32, 3] moved by up to ``SHIFT`` pixels, borders mirrored; every second is flipped."""
    count = len(pictures)
    places = torch.arange(SIDE) + torch.randint(-SHIFT, SHIFT + 1, (2, count, 1), generator=draw)
    last = SIDE - 1
    y, x = last - (last - places.abs()).abs()  # -1 is mirrored to 1, and 32 to 30
    x = torch.where(torch.rand(count, 1, generator=draw) < 0.5, x, last - x)
    return pictures[torch.arange(count)[:, None, None], y[:, :, None], x[:, None, :]]


def train(pictures: Tensor, labels: Tensor, epochs: int = EPOCHS) -> FeatureNet:
    """A trained classifier of those pictures [N, 32, 32, 3] and labels [N]."""
    torch.manual_seed(SEED)
    draw = torch.Generator().manual_seed(SEED)
    net = FeatureNet(classes=int(labels.max()) + 1)
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.SGD(
        net.parameters(), LEARNING_RATE, momentum=0.9, nesterov=True, weight_decay=WEIGHT_DECAY
    )
    steps = epochs * (len(pictures) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, LEARNING_RATE, total_steps=steps, pct_start=0.1, cycle_momentum=False
    )
    start = time.monotonic()
    for epoch in range(epochs):
        order = torch.randperm(len(pictures), generator=draw)
        for index in torch.split(order[: len(order) // BATCH * BATCH], BATCH):
            with torch.autocast("cpu", torch.bfloat16):
                logits = net(scaled(moved(pictures[index], draw)))
            loss = F.cross_entropy(logits.float(), labels[index], label_smoothing=SMOOTHING)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
        logging.info("epoch %d  loss %.3f  %.0f s", epoch + 1, loss.item(), time.monotonic() - start)
    return net.eval()


@torch.no_grad()
def accuracy(net: FeatureNet, pictures: Tensor, labels: Tensor) -> float:
    """The share of pictures [N, 32, 32, 3] given their own label."""
    right = [
        (net(scaled(part)).argmax(1) == wanted).sum().item()
        for part, wanted in zip(torch.split(pictures, BATCH), torch.split(labels, BATCH), strict=True)
    ]
    return sum(right) / len(labels)


def main() -> None:
    """Trains, tests the weights as they are stored, in 16 bits, and writes them."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("train_zip", "test_zip", "out"):
        parser.add_argument(name, type=Path)
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    pictures, labels = read_classes(given.train_zip)
    net = train(pictures, labels).half().float()
    share = accuracy(net, *read_classes(given.test_zip))
    description = {
        "trained_on": f"CIFAR-10 (Krizhevsky 2009), {len(pictures):,} training pictures",
        "test_accuracy": f"{share:.4f}",
        "parameters": str(sum(p.numel() for p in net.parameters())),
        "epochs": str(EPOCHS),
        "seed": str(SEED),
    }
    weights = {
        name: (value.half() if value.is_floating_point() else value).contiguous()
        for name, value in net.state_dict().items()
    }
    write_atomically(given.out, lambda path: save_file(weights, path, description))
    logging.info("%s", description)


if __name__ == "__main__":
    main()
