"""Sizes of both networks, and the settings of their training.

Every field is glossed: its unit, its range and where the value comes from. "paper" is Lee et al.,
*ViTGAN: Training GANs with Vision Transformers*, ICLR 2022.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import Any

from model.fields import check_fields, choice, count, number_or


@dataclass(frozen=True)
class GeneratorConfig:
    """The generator's shape; with the weights, all that decides what a seed looks like."""

    resolution: int = count(32, most=4096)  # native side in pixels: what it was trained at, not a limit
    grid: int = count(8, most=256)  # tokens a side; the paper keeps 8 x 8 at every resolution
    z_dim: int = count(384, most=16384)  # size of the latent z; the paper: equal to the width
    mapping_layers: int = count(
        8, most=64
    )  # depth of the mapping network: the authors' code has 8, the paper names none
    width: int = count(384, most=16384)  # D, the width of tokens and of the style w
    blocks: int = count(4, most=256)  # transformer blocks; the paper: 4 at 32 px, 6 at 64 px
    heads: int = count(6, most=1024)  # attention heads, each width / heads wide
    mlp_ratio: int = count(4, most=64)  # width of a block's MLP over D; the paper: 1536 / 384
    siren_width: int = count(192, most=16384)  # width of the painter's two sine layers: the price of a pixel
    fourier_dim: int = count(192, most=16384)  # number of Fourier features sin(W v) of a pixel's position
    fourier_std: float = 1.5  # initial std of W, radians per half patch: smooth within a patch at first
    demodulate: bool = True  # divide modulated weights by their norm, as StyleGAN2 and CIPS do; false: the
    # paper's text, w'_ijk = s_i w_ijk and no more
    overlap: float = 0.0  # how far a patch's painter reaches past its borders, in patches, at most 1/2; there
    # neighbours are blended (model/plane.py); 0: patches side by side, as in the paper
    coordinates: str = choice("patch", "picture")  # where a painter's positions count from: the middle of
    # its patch (paper), or of the picture: then neighbours of equal style paint the same where they overlap
    zoom: int = count(
        1, most=64
    )  # finest pixels that training shows, times the native resolution, a power of two: half of
    # each batch are crops 1/2, 1/4, ... 1/zoom of a side wide; needs training.oversample, a multiple of it
    residual: str = choice("input", "normalised")  # what a block adds back: its input (paper, eqs. 12, 13),
    # or SLN's output, as the authors' released code does

    def __post_init__(self) -> None:
        check_fields(self, "generator")
        if self.resolution % self.grid:
            raise ValueError(
                f"generator.resolution is {self.resolution}: give a multiple of grid={self.grid}"
            )
        if self.width % self.heads:
            raise ValueError(f"generator.width is {self.width}: give a multiple of heads={self.heads}")
        if self.overlap > 0.5:
            raise ValueError(f"generator.overlap is {self.overlap}: give 0 to 0.5 patches")
        if self.zoom & (self.zoom - 1):
            raise ValueError(f"generator.zoom is {self.zoom}: give a power of two")

    @property
    def patch(self) -> int:
        """Side of a patch in pixels at the native resolution."""
        return self.resolution // self.grid


@dataclass(frozen=True)
class DiscriminatorConfig:
    """The discriminator's kind and shape; fields marked with the other kind are not used."""

    kind: str = choice("vit", "stylegan2")  # a vision transformer (paper, section 3.2), or StyleGAN2's
    # convolutions: with them the paper's generator has its best FID on CIFAR-10, 4.57 beside 6.66
    resolution: int = 32  # side of the pictures it judges, in pixels
    patch: int = 4  # vit: stride of the patches; each is 2 * patch wide (overlap patch / 2, paper 3.2)
    width: int = 384  # vit: D
    blocks: int = 4  # vit: transformer blocks
    heads: int = 6  # vit: attention heads
    mlp_ratio: int = 4  # vit: width of a block's MLP over D
    query_gain: float = 0.25  # vit: initial gain of the tied W_q = W_k: at 1 each token sees only itself
    channel_base: int = 1024  # stylegan2: a level of side s has channel_base / s channels, ...
    channel_max: int = 128  # ... but no more than that; StyleGAN2 has 16384 and 512
    minibatch_group: int = 4  # stylegan2: pictures whose deviation from each other it sees (StyleGAN2: 4)

    def __post_init__(self) -> None:
        check_fields(self, "discriminator")
        if self.kind == "vit":
            self._check_vit()
        else:
            self._check_stylegan2()

    @property
    def levels(self) -> int:
        """stylegan2: how many sides there are from the resolution down to 4, each half the one before."""
        return self.resolution.bit_length() - 2

    def channels(self, side: int) -> int:
        """stylegan2: the channels of the level of that side."""
        return min(self.channel_max, self.channel_base // side)

    def _check_vit(self) -> None:
        if self.patch < 2 or self.patch % 2 or self.resolution % self.patch:
            raise ValueError(
                f"discriminator.patch is {self.patch}: give an even divisor of resolution={self.resolution}"
            )
        if self.width % self.heads:
            raise ValueError(f"discriminator.width is {self.width}: give a multiple of heads={self.heads}")

    def _check_stylegan2(self) -> None:
        if self.resolution < 8 or self.resolution & (self.resolution - 1):
            raise ValueError(
                f"discriminator.resolution is {self.resolution}: stylegan2 halves it down to 4; "
                "give a power of two of 8 or more"
            )
        if self.channel_base < self.resolution:
            raise ValueError(
                f"discriminator.channel_base is {self.channel_base}: give resolution={self.resolution} "
                "or more"
            )


TRANSFORMS = ("colour", "translation", "cutout")


@dataclass(frozen=True)
class TrainingConfig:
    """How the two are trained."""

    batch: int = 64  # pictures a step, on all devices together
    accumulate: int = (
        1  # parts of a device's batch, one after the other, whose gradients are summed: less memory
    )
    precision: str = choice("fp32", "bf16")  # of products and activations; weights and losses stay in fp32
    learning_rate: float = (
        3e-4  # Adam's, for both networks; paper 2e-3 and authors 1e-3, with equalized rates
    )
    equalized: bool = (
        False  # a weight matrix learns at rate / sqrt(fan_in): under Adam the same as StyleGAN's
    )
    # equalized learning rate, where the layer scales unit weights by 1 / sqrt(fan_in) at run time
    generator_rate: float = 1.0  # times the rate, for all of G: below 1 it waits for D (Heusel et al. 2017)
    mapping_rate: float = 1.0  # times the rate, for the mapping network (authors' code: 0.01)
    warmup_kimg: float = 0.0  # the rate rises from 0 over that many thousand pictures (authors: 3,000 steps)
    beta1: float = 0.0  # Adam's first moment (paper: 0)
    beta2: float = 0.99  # Adam's second moment (paper: 0.99)
    bcr_real: float = 0.2  # lambda_real of balanced consistency; paper 10, at another output scale
    bcr_fake: float = 0.2  # lambda_fake
    bcr_ramp_kimg: float = 0.0  # both lambdas rise from 0 over that many thousand pictures
    r1: float = 0.0  # gamma of R1, the penalty gamma / 2 |grad_x D(x)|^2 on real pictures (Mescheder et al.
    # 2018); StyleGAN2 needs it, a vit discriminator is hurt by it (paper, section 3.2)
    r1_every: int = (
        16  # steps from one R1 to the next; each counts as many times (Karras et al. 2020: lazily)
    )
    augment: str = "colour,translation,cutout"  # DiffAugment's transforms, in this order; "" for none
    augment_probability: float | str = number_or("adaptive", 1.0)  # share p of pictures that are
    # transformed (paper: 0.8); adaptive: p follows how well D does (Karras et al. 2020, ADA)
    augment_target: float = 0.6  # adaptive: p rises while r_t = E[sign(D(T(x)))] is above it (ADA: 0.6)
    augment_kimg: float = 100.0  # adaptive: thousand pictures in which p can rise from 0 to 1 (ADA: 500)
    ema_half_life_kimg: float = 20.0  # half-life of the averaged generator, thousand pictures
    ema_rampup: float = 0.05  # early on the half-life is this share of the pictures seen
    oversample: int = 4  # pictures are kept this much finer than the resolution, and training samples
    # real and generated ones on pixel grids shifted alike by k / oversample of a pixel, |shift| <= 1/2:
    # the painter is supervised up to its patch's border, not at the pixel centres alone; 1: no shifts
    anchor: float = 0.0  # weight, in G's loss, of how far its pictures have left those of the model that it
    # starts from (model/anchor.py)
    seams: float = 0.0  # weight, in G's loss, of steps across patch borders unlike those beside them
    # (model/seams.py)
    mirror: bool = True  # flip half of the real pictures left to right

    def __post_init__(self) -> None:
        check_fields(self, "training")
        if self.batch < 2:
            raise ValueError(f"training.batch is {self.batch}: give 2 or more")
        if self.batch % self.accumulate:
            raise ValueError(
                f"training.accumulate is {self.accumulate}: give a divisor of batch={self.batch}"
            )
        self._check_augmentation()
        if not 0 < self.learning_rate < 1:
            raise ValueError(f"training.learning_rate is {self.learning_rate}: give 0 < rate < 1")
        if max(self.beta1, self.beta2) >= 1:
            raise ValueError(f"training.beta1, beta2 are {self.beta1}, {self.beta2}: give less than 1")

    def _check_augmentation(self) -> None:
        if unknown := set(self.policy) - set(TRANSFORMS):
            raise ValueError(f"training.augment names {min(unknown)!r}: choose from {', '.join(TRANSFORMS)}")
        if self.augment_probability == "adaptive":
            if not self.policy:
                raise ValueError(
                    "training.augment_probability is adaptive, but training.augment names no transform: "
                    f"give some of {', '.join(TRANSFORMS)}"
                )
        elif float(self.augment_probability) > 1:
            raise ValueError(
                f"training.augment_probability is {self.augment_probability}: give 0 to 1, or adaptive"
            )
        if not 0 < self.augment_target < 1:
            raise ValueError(f"training.augment_target is {self.augment_target}: give 0 < target < 1")
        if not self.augment_kimg:
            raise ValueError("training.augment_kimg is 0: give more")

    @property
    def policy(self) -> tuple[str, ...]:
        """The names of DiffAugment's transforms."""
        return tuple(name for name in self.augment.split(",") if name)


@dataclass(frozen=True)
class Config:
    """A whole experiment: both networks and their training."""

    preset: str
    generator: GeneratorConfig
    discriminator: DiscriminatorConfig
    training: TrainingConfig

    def __post_init__(self) -> None:
        if self.discriminator.resolution != self.generator.resolution:
            raise ValueError(
                f"discriminator.resolution is {self.discriminator.resolution}: "
                f"give generator.resolution={self.generator.resolution}"
            )
        zoom, fine = self.generator.zoom, self.training.oversample
        if fine % zoom:
            raise ValueError(f"training.oversample is {fine}: give a multiple of generator.zoom={zoom}")

    @property
    def views(self) -> int:
        """Views in a step: whole pictures, and with ``zoom`` crops of as many others."""
        return 2 if self.generator.zoom > 1 else 1

    def warnings(self) -> list[str]:
        """Settings that are allowed and probably a mistake, each as a sentence."""
        if self.training.r1 and self.discriminator.kind == "vit":
            return [
                f"training.r1 is {self.training.r1}, which hurts a vit discriminator (paper, section 3.2): "
                "give 0, or discriminator.kind=stylegan2"
            ]
        return []

    def to_dict(self) -> dict[str, Any]:
        """Plain nested dict, as it stands in ``config.json``."""
        return asdict(self)

    def with_setting(self, *settings: str) -> Config:
        """This configuration with fields changed, each given as ``section.field=value``.

        Raises ``ValueError`` if there is no such field or its value is wrong.
        """
        changed: dict[str, dict[str, Any]] = {}
        for setting in settings:
            path, equals, text = setting.partition("=")
            section, _, name = path.partition(".")
            part: Any = vars(self).get(section)
            if not equals or not name or name not in getattr(part, "__dataclass_fields__", ()):
                raise ValueError(
                    f"{setting!r} changes nothing: give section.field=value, as training.learning_rate=1e-4; "
                    "sections are generator, discriminator and training, fields are in model/config.py"
                )
            try:
                value = json.loads(text)
            except json.JSONDecodeError:
                value = text
            changed.setdefault(section, {})[name] = value
        parts: dict[str, Any] = {
            section: replace(vars(self)[section], **values) for section, values in changed.items()
        }
        return replace(self, **parts)

    def difference(self, other: Config) -> str | None:
        """The first field in which the networks' shapes differ, with both values; None if they are alike."""
        for section in ("generator", "discriminator"):
            mine, others = asdict(getattr(self, section)), asdict(getattr(other, section))
            for name, value in mine.items():
                if others[name] != value:
                    return f"{section}.{name} is {value} here and {others[name]} there"
        return None

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Config:
        """The inverse of ``to_dict``; unknown fields raise ``TypeError``."""
        return cls(
            preset=data["preset"],
            generator=GeneratorConfig(**data["generator"]),
            discriminator=DiscriminatorConfig(**data["discriminator"]),
            training=TrainingConfig(**data["training"]),
        )
