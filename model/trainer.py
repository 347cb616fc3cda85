"""One training step of ViTGAN, and all the state that decides the next one.

B pictures a step in V views of B / V (one, or two with crops), r their side. The step's random numbers are
drawn for the whole batch; the batch is then worked on in parts, an equal slice of each view, one after the
other or on several devices, and their gradients are summed.
"""

from __future__ import annotations

import copy
import random
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from model import losses
from model.adaptive import AugmentControl
from model.anchor import Anchor
from model.augment import augment
from model.batch import Draws, check_parts, draw
from model.config import Config
from model.data import Pictures
from model.devices import Devices
from model.discriminator import AnyDiscriminator, discriminator_of
from model.discriminator_stylegan2 import StyleGAN2Discriminator
from model.ema import ema_decay, ema_update
from model.generator import Generator
from model.rates import rate_groups
from model.seams import seam_loss
from model.start import Start
from model.views import View


class StepLosses(NamedTuple):
    """What a step measured, scalars."""

    discriminator: Tensor  # logistic, 2 ln 2 when D knows nothing
    generator: Tensor  # logistic, ln 2 when D knows nothing
    consistency: Tensor  # bCR with its lambdas
    real: Tensor  # mean logit of augmented real pictures
    fake: Tensor  # mean logit of augmented generated pictures
    sign_real: Tensor  # mean sign of the logits of augmented real pictures, -1 to 1
    sign_fake: Tensor  # the same of augmented generated pictures
    r1: Tensor  # |grad_x D(x)|^2 of those; 0 in the steps between


class Trainer:
    """Both networks, their optimisers and the counter: all that a checkpoint holds, and one step.

    ``compiler`` is a mode of ``torch.compile`` ("default"; "reduce-overhead" uses CUDA graphs), or "off";
    ``start`` what to start from, whose pictures ``training.anchor`` holds.
    """

    def __init__(
        self, config: Config, seed: int, device: torch.device, *,
        devices: Devices | None = None, compiler: str = "off", start: Start | None = None,
    ) -> None:  # fmt: skip
        torch.manual_seed(seed)
        np.random.seed(seed % 2**32)  # neither is used by a step; a picture library of tomorrow may
        random.seed(seed)
        settings = config.training
        self.config, self.seed, self.device = config, seed, device
        self.devices = devices or Devices(device.type)
        check_parts(config, self.devices.world)
        generator, discriminator = self.networks()
        if settings.anchor and start is None:
            raise ValueError(
                "training.anchor holds the pictures of a model: give one to start from (--start)"
            )
        self.anchor = None
        if start is not None:
            start.into(generator, discriminator, config.discriminator)
            if settings.anchor:
                self.anchor = Anchor(start.generator.to(device), settings.oversample)
        self.generator, self.discriminator = generator.to(device), discriminator.to(device)
        self.average = copy.deepcopy(self.generator).eval().requires_grad_(False)
        self.adam_g = self._adam(self.generator, config.training.generator_rate)
        self.adam_d = self._adam(self.discriminator)
        self.control = AugmentControl(settings, device)
        self.images_seen = 0
        self.data_seconds = 0.0  # that steps have waited for pictures
        self._g: Callable[..., Tensor] = self.generator
        self._d: Callable[..., Tensor] = self.discriminator
        if compiler != "off":
            self._g = torch.compile(self.generator, mode=compiler)
            self._d = torch.compile(self.discriminator, mode=compiler)

    def networks(self) -> tuple[Generator, AnyDiscriminator]:
        """Both networks as they start; the seed is set."""
        config = self.config
        return Generator(config.generator), discriminator_of(config.discriminator, config.views > 1)

    def step(self, pictures: Pictures) -> StepLosses:
        """One step of D, then of G, on the next B pictures."""
        settings = self.config.training
        draws = self._draw(pictures)

        # D: min over D of  E[softplus(-D(T(x)))] + E[softplus(D(T(G(z))))] + bCR + R1
        self.discriminator.power_iterate()
        d_step = self._update(self.adam_d, lambda part: self._discriminator_objective(draws, part))
        # G, D's weights fixed:
        #    min over G of  E[softplus(-D(T(G(z))))] + lambda_anchor drift(G) + lambda_seams seams(G)
        self.discriminator.requires_grad_(False)
        g_step = self._update(self.adam_g, lambda part: self._generator_objective(draws, part))
        self.discriminator.requires_grad_(True)

        self.images_seen += settings.batch
        decay = ema_decay(settings.batch, self.images_seen, settings.ema_half_life_kimg, settings.ema_rampup)
        ema_update(self.average, self.generator, decay)
        _, loss_d, *rest = d_step
        measured = StepLosses(loss_d, g_step[1], *rest)
        self.control.follow(measured.sign_real, measured.sign_fake)  # p of the next step
        return measured

    def _discriminator_objective(self, draws: Draws, part: slice) -> Tensor:
        """Objective, logistic loss, bCR, mean logits, mean signs, and R1 of a part of the batch: [8]."""
        settings = self.config.training
        real = draws.real[:, part].flatten(0, 1)  # [b, 3, r, r]
        with torch.no_grad():
            fake = self._g(draws.z[0][:, part].flatten(0, 1), draws.windows)  # [b, 3, r, r]
        plain = torch.cat((real, fake.to(real.dtype)))  # [2b, 3, r, r]
        u = draws.u[:2][:, :, part].flatten(0, 2)  # [2b, DRAWS]
        changed = augment(plain, u, settings.policy, self.control.p)
        places = self._places(draws, part).repeat(2, 1)  # [2b, 3]
        if settings.bcr_real or settings.bcr_fake:
            # One pass over [T(x), T(G(z)), x, G(z)]: all four share ISN's weights.
            logits = self._d(torch.cat((changed, plain)), places.repeat(2, 1)).float()  # [4b]
            t_real, t_fake, p_real, p_fake = logits.chunk(4)  # [b]
            # bCR = lambda_real E[(D(x) - D(T(x)))^2] + lambda_fake E[(D(G(z)) - D(T(G(z))))^2]
            consistency = self._ramp(settings.bcr_ramp_kimg) * (
                settings.bcr_real * losses.consistency_loss(p_real, t_real)
                + settings.bcr_fake * losses.consistency_loss(p_fake, t_fake)
            )
        else:
            t_real, t_fake = self._d(changed, places).float().chunk(2)  # [b]
            consistency = t_real.new_zeros(())
        loss = losses.discriminator_loss(t_real, t_fake)
        r1 = self._gradient_penalty(changed[: len(real)], places[: len(real)])
        objective = loss + consistency + settings.r1 / 2 * settings.r1_every * r1
        means = (t_real.mean(), t_fake.mean(), t_real.sign().mean(), t_fake.sign().mean())
        return torch.stack((objective, loss, consistency, *means, r1))

    def _gradient_penalty(self, images: Tensor, places: Tensor) -> Tensor:
        """R1 on real pictures [b, 3, r, r] as D is shown them, in fp32; 0 in the steps between."""
        if not self._penalised:
            return images.new_zeros(())
        images = images.detach().requires_grad_().clone()  # no leaf: FLOP counters hook the network's inputs
        # Neither the fused attention nor a compiled network can be differentiated twice.
        with torch.autocast(self.device.type, enabled=False), sdpa_kernel(SDPBackend.MATH):
            return losses.gradient_penalty(self.discriminator(images.float(), places), images)

    @property
    def _penalised(self) -> bool:
        """Whether this step takes R1: from the pictures seen alone, so that a resumed run is in step."""
        settings = self.config.training
        return settings.r1 > 0 and self.images_seen // settings.batch % settings.r1_every == 0

    def _generator_objective(self, draws: Draws, part: slice) -> Tensor:
        """Objective and logistic loss of a part of the batch: [2]."""
        settings = self.config.training
        z = draws.z[1][:, part].flatten(0, 1)  # [b, z_dim]
        fake = self._g(z, draws.windows)  # [b, 3, r, r]
        u = draws.u[2][:, part].flatten(0, 1)  # [b, DRAWS]
        changed = augment(fake, u, settings.policy, self.control.p)
        loss = losses.generator_loss(self._d(changed, self._places(draws, part)).float())
        objective = loss
        if self.anchor is not None:
            objective = objective + settings.anchor * self.anchor.drift(fake, z, draws.views)
        if settings.seams:
            objective = objective + settings.seams * seam_loss(fake, draws.windows)
        return torch.stack((objective, loss))

    def _places(self, draws: Draws, part: slice) -> Tensor:
        """What D is told of each picture of a part: [b, 3]."""
        return draws.places.repeat_interleave(part.stop - part.start, 0)

    def _update(self, adam: torch.optim.Adam, objective: Callable[[slice], Tensor]) -> Tensor:
        """Adam's step on the mean gradient over all parts on all devices; gives the mean of ``objective``."""
        settings = self.config.training
        parts = settings.accumulate * self.devices.world
        size = settings.batch // (parts * self.config.views)  # of each view
        adam.zero_grad()
        values: list[Tensor] = []
        for index in range(settings.accumulate):
            first = (self.devices.rank * settings.accumulate + index) * size
            half = settings.precision == "bf16"
            with torch.autocast(self.device.type, torch.bfloat16, enabled=half):
                measured = objective(slice(first, first + size)) / parts
            measured[0].backward()  # type: ignore[no-untyped-call]
            values.append(measured.detach())
        mean = torch.stack(values).sum(0)
        parameters = [p for group in adam.param_groups for p in group["params"]]
        self.devices.sum_([mean, *(p.grad for p in parameters if p.grad is not None)])
        for group in adam.param_groups:
            group["lr"] = settings.learning_rate * group["scale"] * self._ramp(settings.warmup_kimg)
        adam.step()
        return mean

    @property
    def learning_rate(self) -> float:
        """Of this step, warm-up included; each group of parameters has a factor of its own."""
        return self.config.training.learning_rate * self._ramp(self.config.training.warmup_kimg)

    def _ramp(self, kimg: float) -> float:
        """0 to 1 over that many thousand pictures, the ones of this step counted."""
        seen = self.images_seen + self.config.training.batch
        return min(1.0, seen / (kimg * 1000)) if kimg else 1.0

    def _draw(self, pictures: Pictures) -> Draws:
        def read(flip: Tensor, views: Sequence[View]) -> Tensor:
            asked = time.perf_counter()
            real = pictures.batch(self.images_seen, len(flip), self.seed, flip, views).to(self.device)
            self.data_seconds += time.perf_counter() - asked
            return real

        return draw(self.config, self.device, read)

    def _adam(self, network: nn.Module, rate: float = 1.0) -> torch.optim.Adam:
        settings = self.config.training
        scaled = isinstance(network, StyleGAN2Discriminator)  # its weights are, at run time
        return torch.optim.Adam(
            rate_groups(network, settings.equalized and not scaled, settings.mapping_rate, rate),
            settings.learning_rate, (settings.beta1, settings.beta2), fused=True,
        )  # fmt: skip

    @property
    def _on_gpu(self) -> bool:
        return self.device.type == "cuda"

    def finite(self) -> bool:
        """Whether all weights are numbers."""
        networks = (self.generator, self.discriminator)
        return all(bool(p.isfinite().all()) for network in networks for p in network.parameters())

    def state(self) -> dict[str, Any]:
        """Everything that decides the next step."""
        kind, keys, *position = np.random.get_state(legacy=True)
        return {
            "config": self.config.to_dict(),
            "seed": self.seed,
            "augment": self.control.state(),
            "images_seen": self.images_seen,  # the data position too: see Pictures.batch
            "rng": torch.get_rng_state(),
            "rng_cuda": torch.cuda.get_rng_state(self.device) if self._on_gpu else None,
            "rng_numpy": [kind, torch.from_numpy(np.array(keys, dtype=np.int64)), *position],
            "rng_python": random.getstate(),
            **{name: getattr(self, name).state_dict() for name in self._MODULES},
        }

    def load(self, state: dict[str, Any]) -> None:
        """Goes on from ``state``; raises ``ValueError`` if its networks have other shapes.

        The training settings may differ from those of the checkpoint: ours count.
        """
        if difference := self.config.difference(Config.from_dict(state["config"])):
            raise ValueError(
                f"the checkpoint is of another architecture: {difference} in the checkpoint; "
                "give the preset and options it was made with, or another --out"
            )
        self.seed, self.images_seen = state["seed"], state["images_seen"]
        self.control.load(state.get("augment", {}))
        scales = [[group["scale"] for group in adam.param_groups] for adam in (self.adam_g, self.adam_d)]
        for name in self._MODULES:
            getattr(self, name).load_state_dict(state[name])
        for adam, ours in zip((self.adam_g, self.adam_d), scales, strict=True):
            for group, scale in zip(adam.param_groups, ours, strict=True):
                group["scale"] = scale
        torch.set_rng_state(state["rng"])
        if self._on_gpu and state["rng_cuda"] is not None:
            torch.cuda.set_rng_state(state["rng_cuda"], self.device)
        kind, keys, *position = state["rng_numpy"]
        np.random.set_state((kind, keys.numpy().astype(np.uint32), *position))
        random.setstate(state["rng_python"])

    _MODULES = ("generator", "discriminator", "average", "adam_g", "adam_d")
