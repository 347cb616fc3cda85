"""How well D does, and augmentation that follows it (Karras et al. 2020, ADA).

    r_t = E[sign(D(T(x)))] over real pictures x

is near 0 when D guesses and near 1 when it knows every picture of the training set. The share p of pictures
that are transformed rises while r_t is above its target and falls while it is below.
"""

from __future__ import annotations

import torch
from torch import Tensor

from model.config import TrainingConfig

HALF_LIFE = 1000  # pictures, of the running means; Karras et al. take 4 minibatches of 64


class AugmentControl:
    """Running means of the signs of D's logits, and the p that follows from them; tensors on the device."""

    def __init__(self, settings: TrainingConfig, device: torch.device) -> None:
        self.settings = settings
        self.adaptive = settings.augment_probability == "adaptive"
        start = 0.0 if self.adaptive else float(settings.augment_probability)
        self.p = torch.tensor(start, device=device)
        self.signs = torch.zeros(2, device=device)  # of augmented real and of generated pictures, -1 to 1

    def follow(self, real: Tensor, fake: Tensor) -> None:
        """Takes the mean signs of one step's logits, scalars."""
        batch = self.settings.batch
        self.signs.lerp_(torch.stack((real, fake)), 1 - 0.5 ** (batch / HALF_LIFE))
        if self.adaptive:
            step = batch / (1000 * self.settings.augment_kimg)
            self.p.add_((self.signs[0] - self.settings.augment_target).sign(), alpha=step).clamp_(0, 1)

    @property
    def right(self) -> float:
        """Share of pictures that D takes for what they are, real ones and generated; 1/2 when it guesses."""
        real, fake = self.signs.tolist()
        return (2 + real - fake) / 4

    def state(self) -> dict[str, Tensor]:
        """For a checkpoint."""
        return {"p": self.p, "signs": self.signs}

    def load(self, state: dict[str, Tensor]) -> None:
        """Goes on from ``state``, which older checkpoints lack; a p that is configured as a number stays."""
        if state:
            self.signs.copy_(state["signs"])
        if state and self.adaptive:
            self.p.copy_(state["p"])
