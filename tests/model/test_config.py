from __future__ import annotations

import json
import re
from typing import Any

import pytest
import torch

from model.config import Config, DiscriminatorConfig, GeneratorConfig, TrainingConfig
from model.discriminator import discriminator_of
from model.generator import Generator
from model.presets import PRESETS, preset


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_builds_both_networks(name: str) -> None:
    config = preset(name)
    assert config.preset == name
    with torch.device("meta"):
        generator, discriminator = Generator(config.generator), discriminator_of(config.discriminator)
    side = config.generator.resolution
    assert generator(torch.empty(2, config.generator.z_dim, device="meta")).shape == (
        2,
        3,
        side,
        side,
    )
    assert discriminator(torch.empty(2, 3, side, side, device="meta")).shape == (2,)


@pytest.mark.parametrize("name", PRESETS)
def test_a_config_survives_a_round_trip_through_json(name: str) -> None:
    config = preset(name, batch=7)
    assert Config.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_an_unknown_field_is_refused() -> None:
    data = preset("vitgan-s-32").to_dict()
    data["generator"]["colour"] = 3
    with pytest.raises(TypeError, match="colour"):
        Config.from_dict(data)


def test_an_unknown_preset_is_refused_with_the_names_of_all() -> None:
    with pytest.raises(ValueError, match=r"huge.*choose one of") as refusal:
        preset("huge")
    assert all(name in str(refusal.value) for name in PRESETS)


def test_a_preset_takes_another_batch_size() -> None:
    assert preset("vitgan-ti-32", batch=8).training == TrainingConfig(batch=8)
    assert preset("vitgan-ti-32").training.batch == 32


def test_paper_presets_have_its_proportions() -> None:
    assert {name: (c.generator.resolution, c.generator.blocks) for name, c in PRESETS.items()} == {
        "vitgan-ti-32": (32, 3),
        "vitgan-ti-32-stylegan2": (32, 3),
        "vitgan-s-32": (32, 4),
        "vitgan-s-64": (64, 6),
        "vitgan-b-128": (128, 12),
    }
    for config in PRESETS.values():
        assert config.generator.grid == 8
        assert config.generator.patch == config.discriminator.patch
        assert config.generator.resolution == config.discriminator.resolution


COUNTS = (
    "resolution",
    "grid",
    "z_dim",
    "mapping_layers",
    "width",
    "blocks",
    "heads",
    "mlp_ratio",
    "siren_width",
    "fourier_dim",
)


@pytest.mark.parametrize("field", COUNTS)
@pytest.mark.parametrize("value", [0, -1, 2.5, "8", None, True])
def test_a_generators_size_must_be_a_count(field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=rf"generator\.{field}\b"):
        GeneratorConfig(**{field: value})


@pytest.mark.parametrize(
    ("part", "field", "values"),
    [
        (GeneratorConfig, "resolution", {"resolution": 33}),
        (GeneratorConfig, "width", {"width": 100}),
        (DiscriminatorConfig, "patch", {"patch": 3}),
        (DiscriminatorConfig, "patch", {"patch": 0}),
        (DiscriminatorConfig, "patch", {"patch": 6}),
        (DiscriminatorConfig, "width", {"width": 100}),
        (DiscriminatorConfig, "kind", {"kind": "resnet"}),
        (DiscriminatorConfig, "resolution", {"kind": "stylegan2", "resolution": 48}),
        (DiscriminatorConfig, "resolution", {"kind": "stylegan2", "resolution": 4}),
        (DiscriminatorConfig, "channel_base", {"kind": "stylegan2", "channel_base": 16}),
        (DiscriminatorConfig, "minibatch_group", {"kind": "stylegan2", "minibatch_group": 0}),
        (TrainingConfig, "r1", {"r1": -1}),
        (TrainingConfig, "r1_every", {"r1_every": 0}),
        (TrainingConfig, "batch", {"batch": 1}),
        (TrainingConfig, "oversample", {"oversample": 0}),
        (TrainingConfig, "learning_rate", {"learning_rate": 0}),
        (TrainingConfig, "learning_rate", {"learning_rate": 1.0}),
        (TrainingConfig, "learning_rate", {"learning_rate": float("nan")}),
        (TrainingConfig, "accumulate", {"batch": 8, "accumulate": 3}),
        (TrainingConfig, "precision", {"precision": "fp16"}),
        (TrainingConfig, "augment", {"augment": "colour,blur"}),
        (TrainingConfig, "augment", {"augment": 3}),
        (TrainingConfig, "augment_probability", {"augment_probability": 1.5}),
        (TrainingConfig, "bcr_real", {"bcr_real": -1}),
        (TrainingConfig, "mirror", {"mirror": 1}),
        (GeneratorConfig, "residual", {"residual": "none"}),
        (GeneratorConfig, "overlap", {"overlap": 0.6}),
        (GeneratorConfig, "zoom", {"zoom": 3}),
    ],
)
def test_a_bad_value_is_refused_by_its_name(part: Any, field: str, values: dict[str, Any]) -> None:
    section = part.__name__.removesuffix("Config").lower()
    with pytest.raises(ValueError, match=rf"{section}\.{field}\b"):
        part(**values)


@pytest.mark.parametrize(
    ("setting", "part", "name", "value"),
    [
        ("training.learning_rate=1e-4", "training", "learning_rate", 1e-4),
        ("training.augment=colour", "training", "augment", "colour"),
        ("training.augment=", "training", "augment", ""),
        ("generator.residual=normalised", "generator", "residual", "normalised"),
        ("generator.demodulate=false", "generator", "demodulate", False),
        ("discriminator.heads=6", "discriminator", "heads", 6),
    ],
)
def test_a_setting_changes_one_field(setting: str, part: str, name: str, value: Any) -> None:
    before, after = preset("vitgan-ti-32"), preset("vitgan-ti-32").with_setting(setting)
    assert getattr(getattr(after, part), name) == value
    assert after != before
    assert after.with_setting(f"{part}.{name}={json.dumps(getattr(getattr(before, part), name))}") == before


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("learning_rate=1", "section.field=value"),
        ("training.speed=1", "section.field=value"),
        ("training.batch", "section.field=value"),
        ("training.batch=many", "training.batch is 'many'"),
        ("training.learning_rate=7", "training.learning_rate is 7: give 0 < rate < 1"),
        ("generator.width=100", "generator.width is 100"),
    ],
)
def test_a_wrong_setting_says_what_to_give(setting: str, words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        preset("vitgan-ti-32").with_setting(setting)


def test_the_first_difference_of_two_shapes_is_named() -> None:
    one = preset("vitgan-ti-32")
    assert one.difference(one.with_setting("training.batch=8")) is None
    other = one.with_setting("discriminator.heads=6").with_setting("generator.blocks=2")
    assert one.difference(other) == "generator.blocks is 3 here and 2 there"


def test_another_kind_of_discriminator_is_named_before_its_sizes() -> None:
    one = preset("vitgan-ti-32")
    other = one.with_setting("discriminator.kind=stylegan2", "discriminator.channel_max=64")
    assert one.difference(other) == "discriminator.kind is vit here and stylegan2 there"


def test_a_config_of_before_there_were_kinds_still_loads() -> None:
    """As written by earlier versions: the fields that came later have their defaults."""
    data = preset("vitgan-ti-32").to_dict()
    for section, names in (
        ("discriminator", ("kind", "channel_base", "channel_max", "minibatch_group")),
        ("training", ("r1", "r1_every")),
    ):
        for name in names:
            del data[section][name]
    assert Config.from_dict(data) == preset("vitgan-ti-32")


def test_both_networks_have_one_resolution() -> None:
    with pytest.raises(ValueError, match=r"discriminator.resolution is 64: give generator.resolution=32"):
        preset("vitgan-ti-32").with_setting("discriminator.resolution=64")


def test_zoom_needs_pictures_kept_as_fine() -> None:
    with pytest.raises(ValueError, match=r"training.oversample is 4: give a multiple of generator.zoom=8"):
        preset("vitgan-ti-32").with_setting("generator.zoom=8")
    zoomed = preset("vitgan-ti-32").with_setting("generator.zoom=8", "training.oversample=16")
    assert (zoomed.generator.zoom, zoomed.training.oversample) == (8, 16)
