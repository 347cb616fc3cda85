"""What can go wrong in a training, in sentences: divergence, collapse, plateau, full memory or disk."""

from __future__ import annotations

import errno
import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from model.config import Config

LN2 = math.log(2)
COLLAPSED_SPREAD = 0.01  # trained generators have 0.1 and more
BLIND = 0.02  # both losses this close to where D knows nothing
WARMING_KIMG = 4.0  # every generator starts with a small spread
GUESSES, KNOWS = 0.53, 0.98  # share of pictures that D judges right, below and above which no game is played
PATIENCE_KIMG = 4.0  # so long is allowed: at the start D wins for a while
PLATEAU_TICKS = 10  # at least so many ticks without a better distance, and a third of the run


class TrainingError(Exception):
    """A training that cannot go on; the message says what to change."""


def diverged(kimg: float) -> TrainingError:
    """The error of a training whose numbers are none any more."""
    return TrainingError(
        f"the losses or weights are not numbers any more at {kimg:.1f} kimg; nothing of it was saved: go on "
        "from the last checkpoint with --resume and a lower training.learning_rate, or precision fp32"
    )


def collapse(kimg: float, spread: float, loss_d: float, loss_g: float) -> str:
    """A sentence if every seed is one picture or D is blind, else nothing.

    Both losses at ln 2 alone are no alarm: a well-regularised game stays near them while the spread
    between seeds grows. Both losses there *and* no spread mean that D sees nothing of the picture.
    """
    if kimg < WARMING_KIMG or spread > COLLAPSED_SPREAD:
        return ""
    if abs(loss_d - 2 * LN2) < BLIND and abs(loss_g - LN2) < BLIND:
        return (
            f"the discriminator is blind: both losses stand at ln 2 and seeds differ by {spread:.3f} only; "
            "lower training.bcr_real, bcr_fake or discriminator.query_gain"
        )
    return f"the generator has collapsed: seeds differ by {spread:.3f} only; lower training.learning_rate"


class Balance:
    """For how long D has been blind, and for how long it has won, by the share that it judges right."""

    def __init__(self) -> None:
        self.kimg, self.right = 0.0, 0.5
        self.began: dict[str, float] = {}  # "blind" and "won", while they last

    def follow(self, kimg: float, right: float) -> None:
        """Takes one report; they come in the order of the run."""
        self.kimg, self.right = kimg, right
        for state, lasts in (("blind", right < GUESSES), ("won", right > KNOWS)):
            if lasts:
                self.began.setdefault(state, kimg)
            else:
                self.began.pop(state, None)

    def sentence(self, config: Config) -> str:
        """What lasts for long, and what to change of this configuration; nothing if the game is even."""
        for state, began in self.began.items():
            if self.kimg - began >= PATIENCE_KIMG:
                advice = _of_blindness(config) if state == "blind" else _of_victory(config)
                return (
                    f"the discriminator has {'been blind' if state == 'blind' else 'won'} for "
                    f"{self.kimg - began:.0f} kimg: it judges {self.right:.0%} of pictures right; "
                    + ", or ".join(advice)
                )
        return ""


def _of_blindness(config: Config) -> list[str]:
    """What may let D see more, the likeliest first."""
    training, advice = config.training, []
    if training.policy and training.augment_probability not in (0, "adaptive"):
        advice.append("give training.augment_probability=adaptive")
    if training.bcr_real or training.bcr_fake:
        advice.append("lower training.bcr_real and bcr_fake")
    if training.r1:
        advice.append("lower training.r1")
    if config.discriminator.kind == "vit":
        advice.append("give discriminator.kind=stylegan2")
    return [*advice, "lower training.generator_rate"]


def _of_victory(config: Config) -> list[str]:
    """What may leave G a chance, the likeliest first."""
    training, advice = config.training, []
    if training.augment_probability == "adaptive":
        advice.append("lower training.augment_target")
    elif not training.policy:
        advice.append("name transforms in training.augment")
    elif float(training.augment_probability) < 1:
        advice.append("give training.augment_probability=adaptive")
    if config.discriminator.kind == "stylegan2":
        advice.append("raise training.r1")
    return [*advice, "lower training.learning_rate and raise training.generator_rate", "give more pictures"]


def plateau(distances: list[tuple[float, float]]) -> str:
    """A sentence if the distance to the reals has not fallen for long; ``distances``: (kimg, distance)."""
    if len(distances) <= PLATEAU_TICKS:
        return ""
    best = min(range(len(distances)), key=lambda index: distances[index][1])
    since = len(distances) - 1 - best
    if since < max(PLATEAU_TICKS, len(distances) // 3):
        return ""
    kimg, distance = distances[best]
    return f"a plateau: the distance to the pictures was least at {kimg:.0f} kimg ({distance:.2f}), not since"


@contextmanager
def explained() -> Iterator[None]:
    """Turns a full memory or disk into a ``TrainingError`` that says which setting to lower."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise TrainingError(_memory("the GPU's memory")) from error
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        raise TrainingError(_memory("memory")) from error
    except OSError as error:
        raise TrainingError(
            f"{unwritable(error)}; the last checkpoint is whole: mend that and go on with --resume"
        ) from error


def out_of_memory(error: BaseException) -> bool:
    """Whether memory was too small: PyTorch says so in a ``RuntimeError``."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def unwritable(error: OSError) -> str:
    """What stands in the way of a file, in words."""
    where = error.filename or "the run folder"
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):  # full, over a quota, over ulimit -f
        return f"the disk is full ({where})"
    return f"{where} cannot be read or written ({error.strerror or error})"


def _memory(what: str) -> str:
    return (
        f"{what} is too small for this step: raise training.accumulate (the same batch in more parts), "
        "or lower training.batch or the preset"
    )
