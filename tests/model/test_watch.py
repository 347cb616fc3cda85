from __future__ import annotations

import errno
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from model import adaptive, checkpoint, losses, progress, watch
from model import trainer as trainer_module
from model.config import Config
from model.data import Pictures
from model.trainer import StepLosses, Trainer
from model.training import train
from model.watch import Balance, TrainingError, collapse, explained, plateau

LN2 = math.log(2)


@pytest.mark.parametrize("broken", ["discriminator_loss", "generator_loss", "consistency_loss"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_losses_that_are_not_numbers_end_the_training_and_save_nothing(
    tiny: Config, noise: Pictures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str, value: float
) -> None:
    """A loss of NaN or infinity ends the training at once; the checkpoint before stays whole and goes on."""
    train(tiny, noise, tmp_path, kimg=0.008)
    names = sorted(path.name for path in tmp_path.iterdir())
    kept = {path.name: path.read_bytes() for path in tmp_path.glob("checkpoint-*")}
    exact, calls = getattr(losses, broken), 0

    def breaks_at_the_third_step(*logits: Tensor) -> Tensor:
        # A sum's gradient does not see the constant, so the weights stay numbers: what ends the training is
        # the check of the losses, not that of the weights.
        nonlocal calls
        calls += 1
        per_step = 2 if broken == "consistency_loss" else 1  # of real and of generated pictures
        return exact(*logits) + (value if calls > 2 * per_step else 0.0)

    monkeypatch.setattr(losses, broken, breaks_at_the_third_step)
    monkeypatch.setattr(progress, "REPORT_SECONDS", 0)  # losses are looked at when they are reported
    seen: list[float] = []
    with pytest.raises(TrainingError, match=r"not numbers.*--resume and a lower training.learning_rate"):
        train(
            tiny, noise, tmp_path, kimg=0.04, tick_kimg=0.04, resume=True,
            on_progress=lambda report: seen.append(report.kimg),
        )  # fmt: skip
    assert seen == [0.012, 0.016]  # the steps before, each with losses that were numbers
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    assert {path.name: path.read_bytes() for path in tmp_path.glob("checkpoint-*")} == kept
    monkeypatch.undo()
    assert train(tiny, noise, tmp_path, kimg=0.012, resume=True)


@pytest.mark.parametrize("part", ["generator", "discriminator"])
def test_weights_that_are_no_numbers_are_not_saved(
    tiny: Config, noise: Pictures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    """An update can break the weights after the last loss that was still a number."""

    def broken_step(self: Trainer, pictures: Pictures) -> StepLosses:
        measured = step(self, pictures)
        next(iter(getattr(self, part).parameters())).data[0] = math.nan
        return measured

    step = Trainer.step
    monkeypatch.setattr(Trainer, "step", broken_step)
    with pytest.raises(TrainingError, match="not numbers"):
        train(tiny, noise, tmp_path, kimg=0.004)
    assert list(tmp_path.glob("checkpoint-*")) == []


@pytest.mark.parametrize(
    ("kimg", "spread", "loss_d", "loss_g", "words"),
    [
        (20, 0.001, 2 * LN2, LN2, "blind"),
        (20, 0.001, 2 * LN2 + 0.1, LN2, "collapsed"),
        (20, 0.001, 0.1, 5.0, "collapsed"),
        (20, 0.15, 2 * LN2, LN2, ""),  # a well-regularised game: spread tells it from blindness
        (1, 0.001, 2 * LN2, LN2, ""),  # every generator starts so
    ],
)
def test_collapse_is_told_from_a_close_game(
    kimg: float, spread: float, loss_d: float, loss_g: float, words: str
) -> None:
    told = collapse(kimg, spread, loss_d, loss_g)
    assert words in told
    assert bool(told) == bool(words)


def test_a_plateau_is_told_after_ticks_without_a_better_distance() -> None:
    falling = [(float(i), 100.0 - i) for i in range(30)]
    assert plateau(falling) == ""
    stuck = [*falling, *((30.0 + i, 71.5) for i in range(13))]
    assert plateau(stuck) == ""
    told = plateau([*stuck, (43.0, 75.0)])
    assert "29 kimg" in told
    assert "71.00" in told
    assert plateau([(float(i), 50.0) for i in range(10)]) == ""


def told_at_the_end(config: Config, pictures: Pictures, run: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The warning of the last report of a short real run, in which a twentieth of a kimg counts as long."""
    monkeypatch.setattr(watch, "PATIENCE_KIMG", 0.2)
    monkeypatch.setattr(adaptive, "HALF_LIFE", 50)
    monkeypatch.setattr(progress, "REPORT_SECONDS", 0)
    reports: list[progress.Progress] = []
    train(config, pictures, run, kimg=0.8, tick_kimg=0.4, on_progress=reports.append)
    return reports[-1].warning


def test_a_discriminator_that_is_shown_nothing_is_called_blind(
    tiny: Config, noise: Pictures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A real run whose augmentation leaves nothing of a picture: D says the same of all."""
    monkeypatch.setattr(trainer_module, "augment", lambda images, *rest: images * 0)
    told = told_at_the_end(tiny, noise, tmp_path, monkeypatch)
    assert "the discriminator has been blind for 1 kimg: it judges 50% of pictures right" in told
    assert "training.augment_probability=adaptive" in told
    assert "training.bcr_real" in told


@pytest.mark.parametrize("kind", ["vit", "stylegan2"])
def test_a_discriminator_that_nothing_answers_has_won(
    tiny: Config, stylegan2: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """A real run: G stands still, D learns fast and sees white pictures and faint ones untouched."""
    config = {"vit": tiny, "stylegan2": stylegan2}[kind].with_setting(
        "training.learning_rate=3e-3", "training.generator_rate=0", "training.augment=", "training.r1=0",
        "training.bcr_real=0", "training.bcr_fake=0",
    )  # fmt: skip
    white = Pictures(torch.full((8, 3, 32, 32), 255, dtype=torch.uint8), resolution=16)
    told = told_at_the_end(config, white, tmp_path, monkeypatch)
    assert "the discriminator has won for" in told
    assert "name transforms in training.augment" in told
    assert ("training.r1" in told) == (kind == "stylegan2")


def test_the_game_is_watched_by_what_lasts(tiny: Config) -> None:
    balance = Balance()

    def after(*reports: tuple[float, float]) -> str:
        for report in reports:
            balance.follow(*report)
        return balance.sentence(tiny)

    assert after((0, 0.5), (1, 0.5), (3.9, 0.51)) == ""
    assert "blind for 5 kimg" in after((5, 0.51))
    assert after((6, 0.6)) == ""
    assert after((7, 0.99), (9, 0.97), (10, 0.99), (13, 1.0)) == ""  # it was broken off at 9
    assert "won for 4 kimg: it judges 99% of pictures right" in after((14, 0.99))
    assert after((15, 0.75)) == ""


def test_advice_names_only_what_is_on(tiny: Config) -> None:
    blind, won = watch._of_blindness, watch._of_victory
    plain = tiny.with_setting("training.augment=", "training.bcr_real=0", "training.bcr_fake=0")
    assert blind(plain) == ["give discriminator.kind=stylegan2", "lower training.generator_rate"]
    assert won(plain)[0] == "name transforms in training.augment"
    steered = tiny.with_setting("training.augment_probability=adaptive")
    assert not any("adaptive" in advice for advice in blind(steered))
    assert won(steered)[0] == "lower training.augment_target"
    assert won(tiny.with_setting("training.augment_probability=0.5"))[0].endswith("=adaptive")
    assert "lower training.r1" in blind(plain.with_setting("training.r1=0.1"))


def test_a_resumed_run_remembers_for_how_long(
    tiny: Config, noise: Pictures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer_module, "augment", lambda images, *rest: images * 0)
    told_at_the_end(tiny, noise, tmp_path, monkeypatch)
    monkeypatch.setattr(watch, "PATIENCE_KIMG", 0.79)
    warnings: list[str] = []
    train(
        tiny,
        noise,
        tmp_path,
        kimg=0.804,
        resume=True,
        on_progress=lambda report: warnings.append(report.warning),
    )
    assert "blind for 1 kimg" in warnings[0]


def test_a_full_disk_keeps_the_previous_checkpoint(
    tiny: Config, noise: Pictures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torch.save meets a device that is full: /dev/full, Linux's own."""
    train(tiny, noise, tmp_path, kimg=0.008)
    kept = sorted(path.name for path in tmp_path.glob("checkpoint-*"))
    write = checkpoint.write_atomically

    def full(path: Path, writer: object) -> None:
        def to_full_disk(temporary: Path) -> None:
            with Path("/dev/full").open("wb", buffering=0) as file:
                file.write(b"weights")

        write(path, to_full_disk)

    monkeypatch.setattr(checkpoint, "write_atomically", full)
    with pytest.raises(TrainingError, match=r"disk is full.*last checkpoint is whole"):
        train(tiny, noise, tmp_path, kimg=0.016, resume=True)
    monkeypatch.undo()
    assert sorted(path.name for path in tmp_path.glob("checkpoint-*")) == kept
    assert train(tiny, noise, tmp_path, kimg=0.016, resume=True)


def test_a_real_lack_of_memory_names_the_settings() -> None:
    with pytest.raises(TrainingError, match=r"raise training.accumulate.*lower training.batch"), explained():
        torch.empty(1 << 60, dtype=torch.uint8)


def test_a_gpus_lack_of_memory_and_a_quota_are_explained() -> None:
    with pytest.raises(TrainingError, match="GPU's memory"), explained():
        raise torch.OutOfMemoryError("CUDA out of memory")
    with pytest.raises(TrainingError, match=r"disk is full \(x\)"), explained():
        raise OSError(errno.EDQUOT, "quota", "x")
    with pytest.raises(TrainingError, match=r"x cannot be .* \(Stale file handle\); the last"), explained():
        raise OSError(errno.ESTALE, "Stale file handle", "x")


@pytest.mark.parametrize("error", [RuntimeError("shapes differ"), ValueError("no"), KeyError("x")])
def test_other_errors_pass_through(error: Exception) -> None:
    with pytest.raises(type(error)) as passed, explained():
        raise error
    assert passed.value is error
    assert watch.TrainingError is TrainingError
