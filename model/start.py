"""What a training begins with: a model's generator, or both networks of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from model.checkpoint import load_checkpoint, load_generator
from model.config import Config, DiscriminatorConfig
from model.generator import Generator

MAY_DIFFER = ("overlap", "coordinates", "zoom")  # of two generators, that one may start from the other


@dataclass(frozen=True)
class Start:
    """A generator, and the discriminator that it was trained against if that is known."""

    generator: Generator
    discriminator: Mapping[str, Tensor] | None = None  # its weights
    discriminator_config: DiscriminatorConfig | None = None

    @classmethod
    def of(cls, folder: Path) -> Start:
        """A published model's generator, or of a run the averaged generator and the discriminator.

        Raises ``ValueError`` if the run's checkpoints cannot be used.
        """
        found = load_checkpoint(folder)
        if found is None:
            return cls(load_generator(folder))
        config = Config.from_dict(found.state["config"])
        generator = Generator(config.generator)
        generator.load_state_dict(found.state["average"])
        return cls(generator, found.state["discriminator"], config.discriminator)

    def into(self, generator: Generator, discriminator: nn.Module, config: DiscriminatorConfig) -> None:
        """Gives both networks these weights; what only finer pixels need starts as it was.

        Raises ``ValueError`` if they differ in more than how patches are painted.
        """
        _check_equal("generator", asdict(generator.config), asdict(self.generator.config), MAY_DIFFER)
        if self.discriminator is not None and self.discriminator_config is not None:
            _check_equal("discriminator", asdict(config), asdict(self.discriminator_config), ())
            discriminator.load_state_dict(dict(self.discriminator), strict=False)
        generator.load_state_dict(self.generator.state_dict(), strict=False)


def _check_equal(
    network: str, ours: dict[str, Any], theirs: dict[str, Any], may_differ: tuple[str, ...]
) -> None:
    for name in ours:
        if name not in may_differ and ours[name] != theirs[name]:
            hint = f": they may differ in {', '.join(may_differ)}" if may_differ else ""
            raise ValueError(
                f"{network}.{name} is {ours[name]}, but {theirs[name]} in what the training starts from{hint}"
            )
