from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from model import progress
from model.checkpoint import load_checkpoint, load_generator, save_checkpoint
from model.config import Config
from model.data import Pictures
from model.plane import Window
from model.progress import Progress
from model.sampling import native_pictures
from model.trainer import Trainer
from model.training import train

CPU = torch.device("cpu")


def leaves(state: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """All that a nested state holds, with where it stands; tensors as bytes."""
    if isinstance(state, dict):
        for key, value in state.items():
            yield from leaves(value, f"{path}/{key}")
    elif isinstance(state, list | tuple):
        for key, value in enumerate(state):
            yield from leaves(value, f"{path}/{key}")
    elif isinstance(state, torch.Tensor):
        yield path, state.numpy().tobytes()
    else:
        yield path, state


def test_resuming_from_a_checkpoint_is_the_same_to_the_bit(
    tiny: Config, noise: Pictures, tmp_path: Path
) -> None:
    straight = Trainer(tiny, seed=3, device=CPU)
    for _ in range(4):
        straight.step(noise)
    first = Trainer(tiny, seed=3, device=CPU)
    for _ in range(2):
        first.step(noise)
    save_checkpoint(tmp_path, first.images_seen, first.state())
    torch.manual_seed(99)  # another process: nothing but the file carries over
    second = Trainer(tiny, seed=8, device=CPU)
    found = load_checkpoint(tmp_path)
    assert found is not None
    second.load(found.state)
    for _ in range(2):
        second.step(noise)
    assert second.images_seen == 16
    assert dict(leaves(second.state())) == dict(leaves(straight.state()))


def test_seeds_make_different_networks(tiny: Config) -> None:
    one, two, again = (Trainer(tiny, seed, CPU).state() for seed in (1, 2, 1))
    assert dict(leaves(one)) == dict(leaves(again))
    for part in ("generator", "discriminator"):
        assert dict(leaves(one[part])) != dict(leaves(two[part]))


@pytest.mark.parametrize("part", ["generator", "discriminator"])
def test_a_checkpoint_of_another_architecture_names_the_first_difference(tiny: Config, part: str) -> None:
    state = Trainer(tiny.with_setting(f"{part}.mlp_ratio=3"), seed=0, device=CPU).state()
    with pytest.raises(ValueError, match=rf"{part}.mlp_ratio is 2 here and 3 there in the checkpoint"):
        Trainer(tiny, seed=0, device=CPU).load(state)


def test_a_training_goes_on_with_other_training_settings(tiny: Config, noise: Pictures) -> None:
    first = Trainer(tiny, seed=0, device=CPU)
    first.step(noise)
    second = Trainer(tiny.with_setting("training.learning_rate=1e-5"), seed=0, device=CPU)
    second.load(first.state())
    before = second.generator.position.weight.clone()
    second.step(noise)
    assert 0 < (second.generator.position.weight - before).abs().max() < 5e-5
    assert {group["lr"] for group in second.adam_g.param_groups} == {1e-5}


def test_every_parameter_receives_a_gradient(tiny: Config, noise: Pictures) -> None:
    trainer = Trainer(tiny, seed=0, device=CPU)
    trainer.step(noise)
    for network in (trainer.generator, trainer.discriminator):
        for name, parameter in network.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.norm() > 1e-4, name
            assert parameter.requires_grad, name


def test_a_step_moves_both_networks_and_the_average(tiny: Config, noise: Pictures) -> None:
    trainer = Trainer(tiny, seed=0, device=CPU)
    before = dict(leaves(trainer.state()))
    losses = trainer.step(noise)
    assert trainer.images_seen == 4
    for loss in losses:
        assert loss.shape == ()
        assert not loss.requires_grad
    after = dict(leaves(trainer.state()))
    for part in ("generator", "discriminator", "average"):
        still = [k for k in after if k.startswith(f"/{part}/") and after[k] == before[k]]
        assert all(name.endswith(("w_mean", "sigma_init", "head.2.u")) for name in still)


def test_real_and_generated_pictures_share_their_views(
    tiny: Config, noise: Pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer, real, fake = Trainer(tiny, seed=0, device=CPU), [], []
    batch, forward = Pictures.batch, trainer.generator.forward

    def spy_batch(self: Pictures, *args: Any) -> torch.Tensor:
        real.append(args[4])
        return batch(self, *args)

    def spy_forward(z: torch.Tensor, windows: tuple[Window, ...]) -> torch.Tensor:
        fake.append((windows[0].columns.pixels.first, windows[0].rows.pixels.first))
        return forward(z, windows)

    monkeypatch.setattr(Pictures, "batch", spy_batch)
    monkeypatch.setattr(trainer.generator, "forward", spy_forward)
    for _ in range(12):
        trainer.step(noise)
    assert fake == [(2 * view.x + 2, 2 * view.y + 2) for (view,) in real for _ in ("D", "G")]
    assert len({(view.x, view.y) for (view,) in real}) > 3


def test_half_of_the_real_pictures_are_mirrored(tiny: Config, noise: Pictures) -> None:
    settings = (tiny.training, replace(tiny.training, mirror=False))
    trainers = [Trainer(replace(tiny, training=setting), 0, CPU) for setting in settings]
    mirrored = 0
    for seed in range(10):
        shown = []
        for trainer in trainers:
            torch.manual_seed(seed)
            shown.append(trainer._draw(noise).real[0])
        mirrored += sum(not torch.equal(x, y) for x, y in zip(*shown, strict=True))
    assert 8 < mirrored < 32


@pytest.mark.parametrize("field", ["bcr_real", "bcr_fake"])
def test_consistency_is_part_of_the_discriminators_loss(tiny: Config, noise: Pictures, field: str) -> None:
    gradients = []
    for weight in (0.0, 1.0, 2.0):
        training = replace(tiny.training, **{field: weight})
        trainer = Trainer(replace(tiny, training=training), seed=0, device=CPU)
        trainer.step(noise)
        gradient = trainer.discriminator.embed.weight.grad
        assert gradient is not None
        gradients.append(gradient)
    one, two = gradients[1] - gradients[0], gradients[2] - gradients[0]
    assert one.norm() > 0.01 * gradients[0].norm()
    torch.testing.assert_close(two, 2 * one, rtol=1e-2, atol=1e-3)


def stop_after(steps: int) -> Callable[[], bool]:
    calls = itertools.count()
    return lambda: next(calls) >= steps


def test_train_writes_grids_log_checkpoint_and_model(
    tiny: Config, noise: Pictures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "REPORT_SECONDS", 0)
    reports: list[Progress] = []
    done = train(tiny, noise, tmp_path, kimg=0.02, seed=4, tick_kimg=0.008, on_progress=reports.append)
    assert done is True
    for name in ("reals.png", "fakes000000008.png", "fakes000000016.png", "fakes000000020.png"):
        with Image.open(tmp_path / name) as grid:
            assert grid.size == (640, 640)  # ten of 16 px, each pixel four wide
    kept = [path.name for path in sorted(tmp_path.glob("checkpoint-*"))]
    assert kept == ["checkpoint-000000000016.pt", "checkpoint-000000000020.pt"]
    log = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert log == [asdict(report) for report in reports]
    assert load_generator(tmp_path / "model").w_mean.abs().sum() > 0
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    assert config["kimg"] == 0.02
    assert config["training"]["seed"] == 4
    assert Config.from_dict({**config, **tiny.to_dict()}) == tiny


def test_progress_tells_where_the_training_stands(
    tiny: Config, noise: Pictures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "REPORT_SECONDS", 0)
    reports: list[Progress] = []
    train(tiny, noise, tmp_path, kimg=0.02, on_progress=reports.append)
    assert [report.kimg for report in reports] == [0.004, 0.008, 0.012, 0.016, 0.02]
    for report in reports:
        assert report.total_kimg == 0.02
        assert report.images_per_second > 0
        assert report.loss_g == pytest.approx(math.log(2), abs=1)
        assert report.loss_d == pytest.approx(2 * math.log(2), abs=1)
        assert 0 < report.spread < 0.5
    assert reports[0].eta_seconds >= 0
    assert reports[-1].eta_seconds == 0


def test_a_stopped_training_resumes_to_the_same_end(tiny: Config, noise: Pictures, tmp_path: Path) -> None:
    straight, broken = tmp_path / "straight", tmp_path / "broken"
    assert train(tiny, noise, straight, kimg=0.02, seed=2)
    stopped = train(tiny, noise, broken, kimg=0.02, seed=2, should_stop=stop_after(2))
    assert stopped is False
    assert load_generator(broken / "model")
    assert train(tiny, noise, broken, kimg=0.02, seed=2, resume=True) is True
    name = "checkpoint-000000000020.pt"
    one, two = (torch.load(run / name, weights_only=True) for run in (straight, broken))
    assert dict(leaves(one)) == dict(leaves(two))


def test_spread_is_zero_when_every_seed_is_one_picture(tiny: Config) -> None:
    average = Trainer(tiny, seed=0, device=CPU).average
    assert progress.spread(average) > 0.001
    average.siren.rgb.weight.zero_()
    assert progress.spread(average) == 0


def test_training_learns_the_colour_of_its_pictures(tiny: Config) -> None:
    config = replace(tiny, training=replace(tiny.training, batch=8, learning_rate=3e-3))
    colour = torch.tensor([230, 90, 40], dtype=torch.uint8)
    pictures = Pictures(colour[None, :, None, None].expand(8, 3, 32, 32).contiguous(), 16)
    trainer = Trainer(config, seed=0, device=CPU)

    def error() -> float:
        seen = native_pictures(trainer.average, range(32)).mean((0, 2, 3))
        return float((seen - (colour / 127.5 - 1)).abs().mean())

    start = error()
    for _ in range(150):
        trainer.step(pictures)
    assert error() < start / 3
