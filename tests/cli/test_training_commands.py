"""vitgan train's options, --dry-run, TensorBoard and plot, run as people run them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from cli.plot import run_plot
from tests.cli.test_commands import told, vitgan
from tests.conftest import write_pictures


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    return write_pictures(tmp_path / "p.zip")


def test_a_run_is_logged_for_tensorboard_and_plotted(tmp_path: Path, pictures: Path) -> None:
    run = tmp_path / "run"
    done = vitgan(
        "train", pictures, "--out", run, "--kimg", 0.064, "--batch", 16, "--tick", 0.032, "--tensorboard",
        "--set", "training.learning_rate=1e-4", "--set", "generator.blocks=1", "--cache", tmp_path / "cache",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    made = json.loads((run / "training.json").read_text())
    assert (made["training"]["learning_rate"], made["generator"]["blocks"]) == (1e-4, 1)

    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run / "tensorboard"))
    events.Reload()
    reports = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    for name in ("loss_d", "loss_g", "spread", "images_per_second"):
        scalars = events.Scalars(name)
        assert [event.step for event in scalars] == [round(report["kimg"] * 1000) for report in reports]
        assert [event.value for event in scalars] == pytest.approx([report[name] for report in reports])

    assert vitgan("plot", run).returncode == 0
    with Image.open(run / "curves.png") as curves:
        assert curves.width > 1000
        assert len(curves.convert("RGB").getcolors(1 << 20) or []) > 50


def test_curves_follow_the_log(tmp_path: Path) -> None:
    """The same log gives the same picture, another log another one."""
    report = {"loss_d": 1.3, "loss_g": 0.7, "logit_real": 0, "logit_fake": 0, "spread": 0.1, "distance": None}
    drawn = []
    for index, last in enumerate((0.2, 0.2, 0.4)):
        run = tmp_path / str(index)
        run.mkdir()
        lines = [json.dumps({**report, "kimg": kimg, "spread": last * kimg}) for kimg in range(5)]
        (run / "log.jsonl").write_text("\n".join([*lines, '{"kimg": 5, "lo']))
        run_plot(run)
        drawn.append((run / "curves.png").read_bytes())
    assert drawn[0] == drawn[1] != drawn[2]


def test_the_share_of_augmented_pictures_has_a_curve(tmp_path: Path) -> None:
    """A run of before there was such a number has one panel less."""
    report = {"loss_d": 1.3, "loss_g": 0.7, "logit_real": 0, "logit_fake": 0, "spread": 0.1, "distance": None}
    sizes, drawn = [], []
    for index, p in enumerate((None, 0.2, 0.4)):
        run = tmp_path / str(index)
        run.mkdir()
        told = {} if p is None else {"augment_probability": p, "signs": 0.6, "right": 0.8}
        lines = [json.dumps({**report, **told, "kimg": kimg, "distance": 50}) for kimg in range(5)]
        (run / "log.jsonl").write_text("\n".join(lines))
        run_plot(run)
        drawn.append((run / "curves.png").read_bytes())
        with Image.open(run / "curves.png") as curves:
            sizes.append(curves.height)
    assert sizes[0] < sizes[1] == sizes[2]
    assert drawn[1] != drawn[2]


def test_a_plan_is_printed_and_nothing_is_written(tmp_path: Path, pictures: Path) -> None:
    train = (
        "train",
        pictures,
        "--out",
        tmp_path / "run",
        "--batch",
        4,
        "--dry-run",
        "--cache",
        tmp_path / "cache",
    )
    done = vitgan(*train, "--json")
    assert done.returncode == 0, done.stderr
    plan = json.loads(done.stdout)
    assert plan["generator_parameters"] == 513_987
    assert plan["kimg_per_hour"] == pytest.approx(plan["images_per_second"] * 3.6)
    assert plan["images_per_second"] > 0
    assert 0.5e9 < plan["flops_per_image"] < 1.5e9
    assert 100e6 < plan["memory_bytes"] < 8e9
    assert "0.51 million parameters" in vitgan(*train).stdout
    assert not (tmp_path / "run").exists()


def test_a_plan_counts_r1_by_its_share_of_the_steps(tmp_path: Path, pictures: Path) -> None:
    train = (
        "train", pictures, "--out", tmp_path / "run", "--preset", "vitgan-ti-32-stylegan2", "--batch", 4,
        "--dry-run", "--json", "--cache", tmp_path / "cache",
    )  # fmt: skip
    flops = {}
    for every in (1, 2, 10):
        done = vitgan(*train, "--set", f"training.r1_every={every}")
        assert done.returncode == 0, done.stderr
        flops[every] = json.loads(done.stdout)["flops_per_image"]
    assert json.loads(done.stdout)["discriminator_parameters"] == 871_585
    assert flops[1] > flops[2] > flops[10]
    assert flops[1] - flops[2] == pytest.approx((flops[1] - flops[10]) * (1 / 2) / (9 / 10))


def test_a_model_to_start_from_is_planned_with_or_refused(tmp_path: Path, pictures: Path) -> None:
    train = ("train", pictures, "--out", tmp_path / "run", "--batch", 4, "--cache", tmp_path / "cache")
    anchored = ("--set", "training.anchor=10", "--dry-run")
    started = vitgan(*train, "--start", "personas", *anchored)
    assert "0.51 million parameters" in started.stdout, started.stderr
    told(vitgan(*train, *anchored), "training.anchor", "--start")
    told(vitgan(*train, "--start", "nobody", *anchored), "'nobody' is no model")
    other = ("--set", "generator.siren_width=32", "--set", "generator.blocks=1")
    told(
        vitgan(*train, "--start", "personas", *other), "generator.blocks is 1, but 3"
    )  # the first of the two
    assert not (tmp_path / "run").exists()


def test_a_wrong_option_is_one_sentence(tmp_path: Path, pictures: Path) -> None:
    train = ("train", pictures, "--out", tmp_path / "run", "--cache", tmp_path / "cache")
    told(vitgan(*train, "--set", "training.speed=3"), "section.field=value")
    told(vitgan(*train, "--set", "training.learning_rate=7"), "training.learning_rate is 7", "0 < rate < 1")
    convolutions = ("--preset", "vitgan-ti-32-stylegan2")
    told(vitgan(*train, "--set", "discriminator.kind=resnet"), "discriminator.kind is 'resnet'", "stylegan2")
    told(vitgan(*train, *convolutions, "--batch", 6), "discriminator.minibatch_group is 4", "divisor of 6")
    told(vitgan(*train, "--set", "training.augment_probability=often"), "adaptive")
    told(vitgan(*train, "--device", "tpu"), "tpu", "cpu or cuda")
    told(vitgan(*train, "--crop", "stretch"), "crop", "stretch", "centre", "pad")
    told(vitgan(*train, "--background", "mauvish"), "background", "mauvish")
    told(vitgan("plot", tmp_path), "log.jsonl")
    few = write_pictures(tmp_path / "few.zip", 5)
    told(vitgan("train", few, "--out", tmp_path / "run"), "32", "5")
    assert not (tmp_path / "run").exists()


def test_r1_with_a_transformer_is_warned_of_and_done(tmp_path: Path, pictures: Path) -> None:
    done = vitgan(
        "train", pictures, "--out", tmp_path / "run", "--kimg", 0.016, "--batch", 16,
        "--preset", "vitgan-ti-32", "--cache", tmp_path / "cache", "--set", "training.r1=0.01",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "training.r1 is 0.01, which hurts a vit discriminator" in done.stderr


def test_another_architecture_is_told_by_its_first_difference(tmp_path: Path, pictures: Path) -> None:
    train = (
        "train", pictures, "--out", tmp_path / "run", "--kimg", 0.032, "--batch", 16, "--resume",
        "--cache", tmp_path / "cache",
    )  # fmt: skip
    assert vitgan(*train).returncode == 0
    told(vitgan(*train, "--set", "generator.blocks=2"), "generator.blocks is 2 here and 3 there")
