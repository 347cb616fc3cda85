"""The step in its variants: in parts, on several devices, in bf16, compiled, with scaled rates."""

from __future__ import annotations

import copy
import math
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import torch
from torch import Tensor

from model import trainer as trainer_module
from model.augment import augment
from model.config import Config
from model.data import Pictures
from model.trainer import Trainer

CPU = torch.device("cpu")
SIDE_BY_SIDE = Path(__file__).with_name("shared_step.py")


def gradients(trainer: Trainer) -> dict[str, Tensor]:
    """The gradients that the last step left, by parameter."""
    return {
        f"{part}.{name}": parameter.grad
        for part in ("generator", "discriminator")
        for name, parameter in getattr(trainer, part).named_parameters()
    }


def after_a_step(config: Config, pictures: Pictures, **options: str) -> Trainer:
    trainer = Trainer(config, seed=5, device=CPU, **options)
    trainer.step(pictures)
    return trainer


def close(found: dict[str, Tensor], expected: dict[str, Tensor], tolerance: float) -> None:
    """Every gradient within that share of its own norm."""
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        assert (found[name] - gradient).norm() <= tolerance * gradient.norm(), name


@pytest.fixture(params=["vit", "stylegan2"])
def either(request: pytest.FixtureRequest, tiny: Config, stylegan2: Config) -> Config:
    """Both kinds of discriminator, the second with R1 in its first step."""
    return {"vit": tiny, "stylegan2": stylegan2}[request.param]


@pytest.mark.parametrize(("parts", "zoom"), [(2, 1), (4, 1), (2, 2)])
def test_parts_of_a_batch_give_the_gradient_of_the_whole(
    either: Config, noise: Pictures, parts: int, zoom: int
) -> None:
    """Rates of zero would hide the first update's sign; a rate of 1e-12 keeps both steps at one point."""
    still = either.with_setting("training.learning_rate=1e-12").with_setting(f"generator.zoom={zoom}")
    whole = after_a_step(still, noise)
    cut = after_a_step(still.with_setting(f"training.accumulate={parts}"), noise)
    close(gradients(cut), gradients(whole), 1e-4)


def test_parts_must_divide_the_batch_among_the_devices(tiny: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = Trainer(tiny, seed=0, device=CPU)
    devices = trainer.devices
    devices.world = 3
    with pytest.raises(ValueError, match=r"training.batch is 4: give a multiple of the 3 devices"):
        Trainer(tiny, seed=0, device=CPU, devices=devices)


def test_groups_must_divide_what_is_judged_at_once(stylegan2: Config) -> None:
    words = r"discriminator.minibatch_group is 2: give a divisor of 1, .* training.accumulate=4\)"
    with pytest.raises(ValueError, match=words):
        Trainer(stylegan2.with_setting("generator.zoom=2", "training.accumulate=4"), seed=0, device=CPU)


def test_with_zoom_each_part_is_half_crops(tiny: Config, noise: Pictures) -> None:
    zoomed = tiny.with_setting("generator.zoom=2")
    with pytest.raises(ValueError, match=r"give a multiple of the 1 devices .* times 2 views"):
        Trainer(zoomed.with_setting("training.accumulate=4"), seed=0, device=CPU)
    trainer, told = Trainer(zoomed, seed=0, device=CPU), []
    trainer.discriminator.register_forward_pre_hook(lambda _, args: told.append(args[1]))
    trainer.step(noise)
    for places, passes in zip(told, (4, 1), strict=True):  # D's step, then G's: each set, whole before crop
        halves = places.view(passes, 2, 2, 3)
        assert not halves[:, 0].any()
        assert (halves[:, 1] == halves[0, 1, 0]).all()
        assert halves[0, 1, 0, 0] == 1
    assert trainer.discriminator.view.grad.abs().sum() > 0
    assert all(layer.level.grad.abs().sum() > 0 for layer in trainer.generator.siren.hidden)


def test_two_processes_sum_to_the_gradient_of_one(either: Config, noise: Pictures, tmp_path: Path) -> None:
    """Two real processes, joined by gloo as torchrun joins them, each with half of the batch."""
    still = either.with_setting("training.learning_rate=1e-12")
    torch.save({"config": still.to_dict(), "images": noise.images}, tmp_path / "case.pt")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    peers = [
        subprocess.Popen(
            [sys.executable, SIDE_BY_SIDE, tmp_path],
            env={
                **os.environ,  # so that they round as this process does
                "RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_RANK": str(rank), "OMP_NUM_THREADS": "1",
                "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "PYTHONPATH": str(Path.cwd()),
            },
        )
        for rank in range(2)
    ]  # fmt: skip
    assert [peer.wait(120) for peer in peers] == [0, 0]
    one, two = (torch.load(tmp_path / f"gradients-{rank}.pt", weights_only=True) for rank in range(2))
    assert all(torch.equal(one[name], two[name]) for name in one)
    close(one, gradients(after_a_step(still, noise)), 1e-4)


def test_bf16_steps_near_fp32(either: Config, noise: Pictures) -> None:
    still = either.with_setting("training.learning_rate=1e-12")
    exact = after_a_step(still, noise)
    coarse = after_a_step(still.with_setting("training.precision=bf16"), noise)
    for name, gradient in gradients(exact).items():
        found = gradients(coarse)[name]
        assert found.dtype == torch.float32
        assert not torch.equal(found, gradient), name
    whole, other = (torch.cat([g.flatten() for g in gradients(t).values()]) for t in (exact, coarse))
    assert torch.cosine_similarity(whole, other, dim=0) > 0.99


@pytest.mark.filterwarnings("ignore")  # the compiler warns of itself
@pytest.mark.timeout(900)  # with an empty cache it took up to 5 minutes on a loaded machine
def test_a_compiled_step_is_the_eager_one(
    either: Config, noise: Pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A cache for each instruction set (ATEN_CPU_CAPABILITY): kernels for another one fail, or do not compile.
    name = f"torchinductor_tests_{os.getuid()}_{torch.backends.cpu.get_cpu_capability()}"
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(Path(tempfile.gettempdir()) / name))
    still = either.with_setting("training.learning_rate=1e-12").with_setting("generator.blocks=1")
    compiled = after_a_step(still, noise, compiler="default")
    close(gradients(compiled), gradients(after_a_step(still, noise)), 1e-3)


def test_equalized_rates_are_those_of_scaled_unit_weights(tiny: Config) -> None:
    """Adam on V with W = V / sqrt(fan_in), against Adam on W at the scaled rate."""
    trainer = Trainer(tiny.with_setting("training.equalized=true"), seed=0, device=CPU)
    scales = {
        id(parameter): group["scale"]
        for group in trainer.adam_d.param_groups
        for parameter in group["params"]
    }
    weight = trainer.discriminator.embed.weight
    fan_in = weight.shape[1]
    assert scales[id(weight)] == pytest.approx(1 / math.sqrt(fan_in))
    assert scales[id(trainer.discriminator.embed.bias)] == 1
    assert scales[id(trainer.discriminator.position)] == 1

    unit = (weight.detach() * math.sqrt(fan_in)).requires_grad_()
    scaled = weight.detach().clone().requires_grad_()
    target = torch.randn_like(weight)
    pairs = ((unit, 0.01, 1 / math.sqrt(fan_in)), (scaled, 0.01 / math.sqrt(fan_in), 1.0))
    for parameter, rate, gain in pairs:
        adam = torch.optim.Adam([parameter], rate, (0.0, 0.99), eps=1e-12)
        for _ in range(3):
            adam.zero_grad()
            (parameter * gain - target).square().sum().backward()
            adam.step()
    torch.testing.assert_close(unit / math.sqrt(fan_in), scaled)


def test_the_mapping_network_learns_at_its_own_rate(tiny: Config, noise: Pictures) -> None:
    trainer = Trainer(tiny.with_setting("training.mapping_rate=0.01"), seed=0, device=CPU)
    before = copy.deepcopy(trainer.generator.state_dict())
    trainer.step(noise)
    moved = {n: float((p.detach() - before[n]).abs().max()) for n, p in trainer.generator.named_parameters()}
    rate = tiny.training.learning_rate
    assert moved["mapping.layers.0.weight"] == pytest.approx(rate / 100, rel=0.05)
    assert moved["blocks.0.mlp.0.weight"] == pytest.approx(rate, rel=0.05)


def test_the_generator_learns_at_its_own_rate(tiny: Config, noise: Pictures) -> None:
    trainer = Trainer(tiny.with_setting("training.generator_rate=0.25"), seed=0, device=CPU)
    networks = (trainer.generator, trainer.discriminator)
    before = [copy.deepcopy(network.state_dict()) for network in networks]
    trainer.step(noise)
    moved = [
        max(float((parameter.detach() - old[name]).abs().max()) for name, parameter in net.named_parameters())
        for net, old in zip(networks, before, strict=True)
    ]
    rate = tiny.training.learning_rate
    assert moved == pytest.approx([rate / 4, rate], rel=0.05)


def test_warm_up_raises_the_rate(tiny: Config, noise: Pictures) -> None:
    trainer = Trainer(tiny.with_setting("training.warmup_kimg=0.016"), seed=0, device=CPU)
    rates = []
    for _ in range(5):
        trainer.step(noise)
        rates.append(trainer.adam_g.param_groups[0]["lr"] / tiny.training.learning_rate)
    assert rates == pytest.approx([0.25, 0.5, 0.75, 1, 1])


def test_consistency_ramps_up_and_its_pass_is_left_out_at_zero(tiny: Config, noise: Pictures) -> None:
    ramp = tiny.with_setting("training.bcr_ramp_kimg=0.016").with_setting("training.learning_rate=1e-12")
    flat = ramp.with_setting("training.bcr_ramp_kimg=0")
    raised, full = (
        [float(trainer.step(noise).consistency) for _ in range(5)]
        for trainer in (Trainer(config, seed=0, device=CPU) for config in (ramp, flat))
    )
    shares = [a / b for a, b in zip(raised, full, strict=True)]
    assert shares == pytest.approx([0.25, 0.5, 0.75, 1, 1], rel=1e-3)

    judged: list[int] = []
    none = flat.with_setting("training.bcr_real=0").with_setting("training.bcr_fake=0")
    for config in (flat, none):
        trainer = Trainer(config, seed=0, device=CPU)
        trainer.discriminator.register_forward_pre_hook(lambda _, args: judged.append(len(args[0])))
        trainer.step(noise)
    assert judged == [16, 4, 8, 4]


def test_every_pass_of_a_step_has_draws_of_its_own(
    tiny: Config, noise: Pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Real and generated pictures of D's step and those of G's are augmented and drawn independently."""
    augmented: list[Tensor] = []
    latents: list[Tensor] = []
    monkeypatch.setattr(
        trainer_module, "augment", lambda images, u, *rest: augmented.append(u) or augment(images, u, *rest)
    )
    trainer = Trainer(tiny, seed=0, device=CPU)
    trainer.generator.register_forward_pre_hook(lambda _, args: latents.append(args[0]))
    for _ in range(2):
        trainer.step(noise)
    rows = [tuple(row.tolist()) for u in augmented for row in u]
    assert len(rows) == len(set(rows)) == 2 * (8 + 4)
    rows = [tuple(row.tolist()) for z in latents for row in z]
    assert len(rows) == len(set(rows)) == 2 * (4 + 4)
