"""p follows r_t, what D sees follows p, and a checkpoint keeps both."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from model import adaptive
from model import trainer as trainer_module
from model.adaptive import AugmentControl
from model.augment import augment
from model.config import Config, TrainingConfig
from model.data import Pictures
from model.trainer import Trainer

CPU = torch.device("cpu")
ADAPTIVE = TrainingConfig(batch=10, augment_probability="adaptive", augment_target=0.6, augment_kimg=1)


def fed(control: AugmentControl, steps: int, real: float, fake: float = 0.0) -> AugmentControl:
    for _ in range(steps):
        control.follow(torch.tensor(real), torch.tensor(fake))
    return control


def test_the_means_have_the_half_life_that_is_stated() -> None:
    """After 1,000 pictures half of the mean is new, after 2,000 three quarters."""
    control = AugmentControl(ADAPTIVE, CPU)
    for expected in (0.5, 0.75):
        fed(control, 100, real=1.0, fake=-1.0)
        assert control.signs.tolist() == pytest.approx([expected, -expected], rel=1e-4)
    assert control.right == pytest.approx((1 + 0.75) / 2, rel=1e-4)


def test_p_rises_above_the_target_and_falls_below_it() -> None:
    """One step is batch / augment_kimg: here 1 / 100."""
    control = AugmentControl(ADAPTIVE, CPU)
    assert float(fed(control, 100, real=1.0).p) == 0  # r_t is 0.5 now, still below 0.6
    assert float(fed(control, 100, real=1.0).p) == pytest.approx(0.01 * (100 - 32), abs=0.011)
    assert float(fed(control, 100, real=1.0).p) == 1  # and no more
    fed(control, 1000, real=0.5)
    assert float(control.p) == 0


def test_a_p_that_is_given_stays() -> None:
    control = AugmentControl(replace(ADAPTIVE, augment_probability=0.3), CPU)
    assert float(fed(control, 500, real=1.0).p) == pytest.approx(0.3)
    assert float(control.signs[0]) > 0.9


def test_pictures_are_transformed_with_the_p_of_the_moment(
    tiny: Config, noise: Pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[float] = []

    def spy(images: Tensor, u: Tensor, policy: tuple[str, ...], p: Tensor) -> Tensor:
        used.append(float(p))
        return augment(images, u, policy, p)

    monkeypatch.setattr(trainer_module, "augment", spy)
    trainer = Trainer(tiny.with_setting("training.augment_probability=adaptive"), seed=0, device=CPU)
    trainer.step(noise)
    trainer.control.p.fill_(0.7)
    trainer.step(noise)
    assert used == pytest.approx([0, 0, 0.7, 0.7])


def test_parts_of_a_batch_judge_as_the_whole(tiny: Config, noise: Pictures) -> None:
    still = tiny.with_setting("training.learning_rate=1e-12", "training.augment_probability=adaptive")
    found = []
    for parts in (1, 4):
        trainer = Trainer(still.with_setting(f"training.accumulate={parts}"), seed=5, device=CPU)
        for _ in range(5):
            trainer.step(noise)
        found.append(trainer.control.signs)
    torch.testing.assert_close(found[0], found[1])
    assert found[0].abs().max() > 0


@pytest.mark.parametrize("kind", ["vit", "stylegan2"])
def test_more_is_transformed_when_the_discriminator_knows_every_picture(
    tiny: Config, stylegan2: Config, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """A real run: G stands still, so D soon tells its faint pictures from white ones."""
    monkeypatch.setattr(adaptive, "HALF_LIFE", 50)
    config = {"vit": tiny, "stylegan2": stylegan2}[kind]
    training = replace(
        config.training, bcr_real=0.0, bcr_fake=0.0, r1=0.0, learning_rate=3e-3, generator_rate=0.0,
        augment="translation", augment_probability="adaptive", augment_kimg=0.4,
    )  # fmt: skip
    trainer = Trainer(replace(config, training=training), seed=0, device=CPU)
    white = Pictures(torch.full((8, 3, 32, 32), 255, dtype=torch.uint8), resolution=16)
    for _ in range(800 // training.batch):
        trainer.step(white)
    assert trainer.control.right > 0.9
    assert float(trainer.control.p) > 0.2


def test_a_checkpoint_of_before_is_gone_on_with(tiny: Config, noise: Pictures) -> None:
    state = Trainer(tiny, seed=0, device=CPU).state()
    del state["augment"]
    for setting in ("augment_probability=1", "augment_probability=adaptive"):
        trainer = Trainer(tiny.with_setting(f"training.{setting}"), seed=0, device=CPU)
        trainer.load(state)
        trainer.step(noise)


def test_a_run_goes_on_adaptively_from_the_p_that_it_had(tiny: Config, noise: Pictures) -> None:
    first = Trainer(tiny.with_setting("training.augment_probability=0.5"), seed=0, device=CPU)
    first.step(noise)
    second = Trainer(tiny.with_setting("training.augment_probability=adaptive"), seed=0, device=CPU)
    second.load(first.state())
    assert float(second.control.p) == 0.5
    assert torch.equal(second.control.signs, first.control.signs)
    third = Trainer(tiny.with_setting("training.augment_probability=1"), seed=0, device=CPU)
    third.load(second.state())
    assert float(third.control.p) == 1


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"augment_probability": "often"}, "is 'often': give a number of 0 or more, or adaptive"),
        ({"augment_probability": True}, "a number of 0 or more, or adaptive"),
        ({"augment_probability": 1.5}, "is 1.5: give 0 to 1, or adaptive"),
        ({"augment_probability": "adaptive", "augment": ""}, "names no transform: give some of colour"),
        ({"augment_target": 1.5}, "augment_target is 1.5: give 0 < target < 1"),
        ({"augment_target": 0}, "augment_target is 0: give 0 < target < 1"),
        ({"augment_target": "high"}, "augment_target is 'high'"),
        ({"augment_kimg": 0}, "augment_kimg is 0"),
    ],
)
def test_a_wrong_augmentation_is_one_sentence(settings: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=r"training\.augment") as refusal:
        TrainingConfig(**settings)  # type: ignore[arg-type]
    assert words in str(refusal.value)
