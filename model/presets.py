"""The table of presets: networks and settings that work together."""

from __future__ import annotations

from dataclasses import replace

from model.config import Config, DiscriminatorConfig, GeneratorConfig, TrainingConfig


def _paper(name: str, resolution: int, width: int, blocks: int, heads: int, batch: int) -> Config:
    """A preset in the paper's proportions: z, w and tokens share one width, on an 8 x 8 grid."""
    return Config(
        preset=name,
        generator=GeneratorConfig(
            resolution=resolution, z_dim=width, width=width, blocks=blocks, heads=heads, overlap=0.375
        ),
        discriminator=DiscriminatorConfig(
            resolution=resolution, patch=resolution // 8, width=width, blocks=blocks, heads=heads
        ),
        training=TrainingConfig(batch=batch, oversample=2),
    )


_TINY = Config(
    preset="vitgan-ti-32",
    generator=GeneratorConfig(
        resolution=32, z_dim=128, mapping_layers=2, width=96, blocks=3, heads=3,
        siren_width=64, fourier_dim=64, overlap=0.375,
    ),
    discriminator=DiscriminatorConfig(resolution=32, patch=4, width=96, blocks=3, heads=3),
    training=TrainingConfig(batch=32),
)  # fmt: skip

# The tiny generator against StyleGAN2's discriminator: the best for a small one (docs/training-recipe.md).
_TINY_STYLEGAN2 = replace(
    _TINY,
    preset="vitgan-ti-32-stylegan2",
    discriminator=DiscriminatorConfig(kind="stylegan2", resolution=32),
    training=TrainingConfig(
        batch=16, learning_rate=2e-3, generator_rate=0.25, bcr_real=0.0, bcr_fake=0.0, r1=0.02,
        augment="translation",
    ),
)  # fmt: skip

PRESETS: dict[str, Config] = {
    config.preset: config
    for config in (
        _TINY,
        _TINY_STYLEGAN2,
        _paper("vitgan-s-32", 32, width=384, blocks=4, heads=6, batch=128),
        _paper("vitgan-s-64", 64, width=384, blocks=6, heads=6, batch=128),
        _paper("vitgan-b-128", 128, width=768, blocks=12, heads=12, batch=128),
    )
}


def preset(name: str, batch: int | None = None) -> Config:
    """The preset of that name, with another batch size if one is given.

    Raises ``ValueError`` that lists the names if there is none.
    """
    if name not in PRESETS:
        raise ValueError(f"preset {name!r} is unknown: choose one of {', '.join(PRESETS)}")
    config = PRESETS[name]
    return config if batch is None else replace(config, training=replace(config.training, batch=batch))
