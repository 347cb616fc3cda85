"""The training loop. It knows no queue: progress goes to a callback, and a callback may stop it."""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from model import losses
from model.augment import augment
from model.checkpoint import load_checkpoint, save_checkpoint, save_model, write_atomically
from model.config import Config
from model.data import Pictures
from model.discriminator import Discriminator
from model.ema import ema_decay, ema_update
from model.generator import Generator
from model.progress import Progress, Reporter
from model.sampling import grid_image, native_pictures

GRID_SEEDS = range(100)  # the seeds of every grid, ten by ten


class Trainer:
    """Both networks, their optimisers and the counter: all that a checkpoint holds, and one step."""

    def __init__(self, config: Config, seed: int, device: torch.device) -> None:
        torch.manual_seed(seed)
        rate, betas = config.training.learning_rate, (config.training.beta1, config.training.beta2)
        self.config, self.seed, self.device = config, seed, device
        self.generator = Generator(config.generator).to(device)
        self.discriminator = Discriminator(config.discriminator).to(device)
        self.average = copy.deepcopy(self.generator).eval().requires_grad_(False)
        self.adam_g = torch.optim.Adam(self.generator.parameters(), rate, betas, fused=True)
        self.adam_d = torch.optim.Adam(self.discriminator.parameters(), rate, betas, fused=True)
        self.images_seen = 0

    def step(self, pictures: Pictures) -> tuple[Tensor, Tensor]:
        """One step of D, then of G, on the next pictures [B, 3, r, r]; gives their logistic losses."""
        settings = self.config.training
        fine = settings.oversample
        reach = fine // 2
        x, y = torch.randint(-reach, reach + 1, (2,)).tolist()  # of a pixel, in fine ones
        real = pictures.batch(self.images_seen, settings.batch, self.seed, (x, y)).to(self.device)
        shift = (x / fine, y / fine)  # the same for real and fake, in pixels
        if settings.mirror:
            flipped = torch.rand(len(real), 1, 1, 1, device=self.device) < 0.5
            real = torch.where(flipped, real.flip(3), real)

        # D: one forward pass over [T(x), T(G(z)), x, G(z)], so that all four share ISN's weights.
        with torch.no_grad():
            fake = self.generator(self._latents(len(real)), shift)  # [B, 3, r, r]
        plain = torch.cat((real, fake))  # [2B, 3, r, r]
        self.discriminator.power_iterate()
        logits = self.discriminator(torch.cat((augment(plain), plain)))  # [4B]
        t_real, t_fake, p_real, p_fake = logits.chunk(4)  # [B] each
        loss_d = losses.discriminator_loss(t_real, t_fake)
        consistency = settings.bcr_real * losses.consistency_loss(
            p_real, t_real
        ) + settings.bcr_fake * losses.consistency_loss(p_fake, t_fake)
        self.adam_d.zero_grad()
        (loss_d + consistency).backward()  # type: ignore[no-untyped-call]
        self.adam_d.step()

        # G: through the same augmentation (DiffAugment), D's weights fixed.
        self.discriminator.requires_grad_(False)
        fake = self.generator(self._latents(len(real)), shift)
        loss_g = losses.generator_loss(self.discriminator(augment(fake)))
        self.adam_g.zero_grad()
        loss_g.backward()  # type: ignore[no-untyped-call]
        self.adam_g.step()
        self.discriminator.requires_grad_(True)

        self.images_seen += len(real)
        decay = ema_decay(len(real), self.images_seen, settings.ema_half_life_kimg, settings.ema_rampup)
        ema_update(self.average, self.generator, decay)
        return loss_d.detach(), loss_g.detach()

    def _latents(self, count: int) -> Tensor:
        return torch.randn(count, self.config.generator.z_dim, device=self.device)

    def state(self) -> dict[str, Any]:
        """Everything that decides the next step."""
        return {
            "config": self.config.to_dict(),
            "seed": self.seed,
            "images_seen": self.images_seen,
            "rng": torch.get_rng_state(),
            "rng_cuda": torch.cuda.get_rng_state_all(),
            **{name: getattr(self, name).state_dict() for name in self._MODULES},
        }

    def load(self, state: dict[str, Any]) -> None:
        """Goes on from ``state``; raises ``ValueError`` if it is of another configuration."""
        found = Config.from_dict(state["config"])
        if found != self.config:
            raise ValueError(
                f"the checkpoint was made with {found}, not with {self.config}: "
                "give the same preset and options, or another --out"
            )
        self.seed, self.images_seen = state["seed"], state["images_seen"]
        for name in self._MODULES:
            getattr(self, name).load_state_dict(state[name])
        torch.set_rng_state(state["rng"])
        if self.device.type == "cuda":
            torch.cuda.set_rng_state_all(state["rng_cuda"])

    _MODULES = ("generator", "discriminator", "average", "adam_g", "adam_d")


def train(
    config: Config,
    pictures: Pictures,
    run: Path,
    *,
    kimg: float,
    seed: int = 0,
    tick_kimg: float = 4.0,
    resume: bool = False,
    device: str = "cpu",
    on_progress: Callable[[Progress], None] = lambda progress: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> bool:
    """Trains for ``kimg`` thousand pictures into the folder ``run``; True if it came to its end.

    Every tick writes a grid of fixed seeds and a checkpoint; the end (or a stop) writes both too, and
    ``run/model``, the averaged generator as a published model. With ``resume`` it goes on from the
    newest checkpoint, if there is one.
    """
    run.mkdir(parents=True, exist_ok=True)
    trainer = Trainer(config, seed, torch.device(device))
    if resume and (state := load_checkpoint(run)) is not None:
        trainer.load(state)
    description = json.dumps({**config.to_dict(), "seed": seed, "kimg": kimg}, indent=2)
    write_atomically(run / "training.json", lambda path: path.write_text(description + "\n"))
    grid_image(
        pictures.batch(0, len(GRID_SEEDS), seed), columns=10, zoom=max(1, 64 // pictures.resolution)
    ).save(run / "reals.png")

    total = round(kimg * 1000)
    tick = max(1, round(tick_kimg * 1000))
    reporter = Reporter(trainer.average, trainer.images_seen, total, run / "log.jsonl", on_progress)
    while trainer.images_seen < total and not should_stop():
        before = trainer.images_seen
        loss_d, loss_g = trainer.step(pictures)
        reporter.step(trainer.images_seen, loss_d, loss_g)
        if before // tick != trainer.images_seen // tick and trainer.images_seen < total:
            _snapshot(trainer, run)
    _snapshot(trainer, run)
    publish(trainer, run / "model")
    return trainer.images_seen >= total


def publish(trainer: Trainer, folder: Path) -> None:
    """Writes the averaged generator, with its mean style, as a model folder."""
    trainer.average.measure_w_mean()
    config = trainer.config
    save_model(
        folder,
        trainer.average,
        {
            "preset": config.preset,
            "kimg": trainer.images_seen / 1000,
            "created_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "training": asdict(config.training) | {"seed": trainer.seed},
        },
    )


def _snapshot(trainer: Trainer, run: Path) -> None:
    name = f"fakes{trainer.images_seen // 1000:06d}.png"
    zoom = max(1, 64 // trainer.config.generator.resolution)
    grid = grid_image(native_pictures(trainer.average, GRID_SEEDS), columns=10, zoom=zoom)
    write_atomically(run / name, lambda path: grid.save(path, format="PNG"))
    save_checkpoint(run, trainer.images_seen, trainer.state())
