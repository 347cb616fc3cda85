"""What a training begins with: a published generator's weights, or both networks of a run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from model.checkpoint import save_checkpoint
from model.config import Config
from model.generator import Generator
from model.start import Start
from model.trainer import Trainer

CPU = torch.device("cpu")


def zooming(config: Config) -> Config:
    """With overlap and crops, as a model of whole pictures goes on."""
    return replace(
        config,
        generator=replace(config.generator, overlap=0.25, zoom=4),
        training=replace(config.training, batch=8, oversample=8),
    )


def test_it_begins_with_the_weights_of_the_model(tiny: Config, generator: Generator) -> None:
    trainer = Trainer(zooming(tiny), seed=5, device=CPU, start=Start(generator))
    for network in (trainer.generator, trainer.average):
        ours = network.state_dict()
        assert all(torch.equal(ours[name], value) for name, value in generator.state_dict().items())
        assert all(not value.any() for name, value in ours.items() if name.endswith(".level"))


@pytest.mark.parametrize("kind", ["vit", "stylegan2"])
def test_it_begins_with_both_networks_of_a_run(tiny: Config, tmp_path: Path, kind: str) -> None:
    config = tiny.with_setting(f"discriminator.kind={kind}")
    before = Trainer(config, seed=1, device=CPU)
    save_checkpoint(tmp_path, 0, before.state())
    trainer = Trainer(zooming(config), seed=5, device=CPU, start=Start.of(tmp_path))
    average, ours = before.average.state_dict(), trainer.generator.state_dict()
    assert all(torch.equal(ours[name], value) for name, value in average.items())
    theirs, ours = before.discriminator.state_dict(), trainer.discriminator.state_dict()
    assert all(torch.equal(ours[name], value) for name, value in theirs.items())
    (fresh,) = set(ours) - set(theirs)  # which part of a picture it sees is told by what had no use before
    assert "view" in fresh


def test_a_model_or_a_run_of_another_size_is_refused_by_its_first_difference(
    tiny: Config, generator: Generator, tmp_path: Path
) -> None:
    other = tiny.with_setting("generator.siren_width=12")
    with pytest.raises(ValueError, match=r"generator\.siren_width is 12, but 8"):
        Trainer(other, seed=0, device=CPU, start=Start(generator))
    save_checkpoint(tmp_path, 0, Trainer(tiny, seed=1, device=CPU).state())
    other = tiny.with_setting("discriminator.blocks=2")
    with pytest.raises(ValueError, match=r"discriminator\.blocks is 2, but"):
        Trainer(other, seed=0, device=CPU, start=Start.of(tmp_path))
