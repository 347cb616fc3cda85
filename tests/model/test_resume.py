"""Exact resume, across real processes: 40 steps, or 20 and 20 more in a new one, are the same bits."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from model.checkpoint import save_checkpoint
from model.config import Config
from model.data import Pictures
from model.trainer import Trainer
from tests.model.test_checkpoint import loaded
from tests.model.test_training import leaves

STEPS = """
import sys
from pathlib import Path
import torch
from model.checkpoint import load_checkpoint, save_checkpoint
from model.config import Config
from model.data import Pictures
from model.trainer import Trainer

folder, steps = Path(sys.argv[1]), int(sys.argv[2])
torch.set_num_threads(1)
case = torch.load(folder.parent / "case.pt", weights_only=True)
trainer = Trainer(Config.from_dict(case["config"]), seed=3, device=torch.device("cpu"))
if (found := load_checkpoint(folder)) is not None:
    trainer.load(found.state)
pictures = Pictures(case["images"], resolution=16)
for _ in range(steps):
    trainer.step(pictures)
save_checkpoint(folder, trainer.images_seen, trainer.state())
torch.save([value.clone() for value in trainer.step(pictures)], folder / "next.pt")
"""


def steps(folder: Path, count: int) -> None:
    folder.mkdir(exist_ok=True)
    subprocess.run(
        [sys.executable, "-c", STEPS, folder, str(count)], check=True, timeout=120,
        env={**os.environ, "PYTHONPATH": str(Path.cwd())},
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["vit", "stylegan2", "adaptive"])
def test_stopping_and_going_on_in_a_new_process_changes_no_bit(
    tiny: Config, stylegan2: Config, noise: Pictures, tmp_path: Path, kind: str
) -> None:
    """R1 is taken in every third step of the second, so that the stop lies between two of those."""
    adaptive = tiny.with_setting(
        "training.augment_probability=adaptive", "training.augment_target=1e-9", "training.augment_kimg=1"
    )
    kinds = {"vit": tiny, "stylegan2": stylegan2, "adaptive": adaptive}
    config = replace(kinds[kind], generator=replace(tiny.generator, zoom=2))
    torch.save({"config": config.to_dict(), "images": noise.images}, tmp_path / "case.pt")
    straight, broken = tmp_path / "straight", tmp_path / "broken"
    start = Trainer(config, seed=3, device=torch.device("cpu"))
    start.control.p.fill_(0.5)  # from here it can move either way
    for folder in (straight, broken):
        folder.mkdir()
        save_checkpoint(folder, 0, start.state())
    steps(straight, 40)
    steps(broken, 20)
    steps(broken, 20)
    states = [loaded(folder) for folder in (straight, broken)]
    one, two = (dict(leaves(state)) for state in states)
    assert one["/images_seen"] == 40 * config.training.batch
    assert one == two
    state = states[0]
    assert (0.3 < float(state["augment"]["p"]) < 0.7) == (kind == "adaptive")
    assert float(state["augment"]["p"]) != 0.5
    losses = [torch.load(folder / "next.pt", weights_only=True) for folder in (straight, broken)]
    assert [float(a) for a in losses[0]] == [float(b) for b in losses[1]]


def test_a_checkpoint_holds_all_that_decides_the_next_step(
    tiny: Config, noise: Pictures, tmp_path: Path
) -> None:
    trainer = Trainer(tiny, seed=0, device=torch.device("cpu"))
    trainer.step(noise)
    random.seed(5)
    np.random.seed(6)
    save_checkpoint(tmp_path, 4, trainer.state())
    expected = random.random(), np.random.rand(), torch.rand(3)
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    state = loaded(tmp_path)
    assert {
        "generator",
        "discriminator",
        "average",
        "adam_g",
        "adam_d",
        "config",
        "seed",
        "images_seen",
    } < set(state)
    assert (
        sum(name.endswith(("embed.u", "embed.v", "embed.sigma_init")) for name in state["discriminator"]) == 3
    )
    Trainer(tiny, seed=9, device=torch.device("cpu")).load(state)
    found = random.random(), np.random.rand(), torch.rand(3)
    assert found[:2] == expected[:2]
    assert torch.equal(found[2], expected[2])
