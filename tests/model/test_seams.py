from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from bench.seams import ratios
from contract.settings import SHIPPED_MODELS
from model.checkpoint import load_generator
from model.config import Config
from model.data import Pictures
from model.generator import Generator
from model.plane import Axis, Pixels, Window
from model.seams import crossings, seam_loss, seam_ratio
from model.start import Start
from model.trainer import Trainer
from model.views import View

CPU = torch.device("cpu")


def of(side: int, grid: int) -> Window:
    axis = Axis(Pixels.of(side), grid, overlap=0.0)
    return Window(axis, axis, level=0.0)


def tiles(side: int, grid: int) -> Tensor:
    """Flat patches of random colours."""
    return torch.rand(2, 3, grid, grid).repeat_interleave(side // grid, 2).repeat_interleave(side // grid, 3)


def test_crossings_are_the_steps_between_cells_that_have_a_step_on_either_side(tiny: Config) -> None:
    assert crossings(Axis(Pixels.of(16), 4, 0.25)).tolist() == [3, 7, 11]
    assert crossings(Axis(Pixels.of(10), 4, 0.25)).tolist() == [1, 4, 6]
    assert crossings(Axis(Pixels.of(4), 4, 0.25)).tolist() == [1]  # of three, the others at the edge
    config, view = tiny.generator, View(4, 40, 17)  # 16 pixels of two fine ones each, from fine (40, 17)
    window = view.window(config, oversample=8)
    for axis, first in ((window.columns, 40), (window.rows, 17)):
        cells = [math.floor((first + 2 * i + 1) * config.grid / (8 * 16)) for i in range(16)]
        expected = [i for i in range(1, 14) if cells[i] != cells[i + 1]]
        assert crossings(axis).tolist() == expected


def test_the_ratio_is_one_where_borders_are_like_any_place() -> None:
    ramp = torch.linspace(-1, 1, 32).expand(2, 3, 32, 32)
    assert float(seam_ratio(ramp + ramp.mT, of(32, 8))) == pytest.approx(1, abs=1e-4)
    noise = torch.rand(64, 3, 32, 32)
    assert float(seam_ratio(noise, of(32, 8))) == pytest.approx(1, abs=0.02)


def test_steps_between_patches_raise_it_and_dull_borders_lower_it() -> None:
    noise, window = torch.rand(64, 3, 32, 32), of(32, 8)
    assert float(seam_ratio(noise + 5 * tiles(32, 8).repeat(32, 1, 1, 1), window)) > 3
    dull = noise.clone()
    for border in range(4, 32, 4):  # the two pixels at a border become one colour
        dull[:, :, :, border] = dull[:, :, :, border - 1]
        dull[:, :, border] = dull[:, :, border - 1]
    assert float(seam_ratio(dull, window)) < 0.6


def test_the_loss_is_the_sum_over_views_of_the_squared_logarithm() -> None:
    pictures = torch.rand(4, 3, 32, 32)
    windows = (of(32, 8), of(32, 4))
    ratios = [
        float(seam_ratio(half, window)) for half, window in zip(pictures.chunk(2), windows, strict=True)
    ]
    assert float(seam_loss(pictures, windows)) == pytest.approx(
        sum(math.log(r) ** 2 for r in ratios), rel=1e-3
    )
    assert float(seam_loss(pictures, (of(32, 1),))) == 0  # no border is in sight


def test_training_with_it_takes_seams_away(tiny: Config, generator: Generator) -> None:
    fine = torch.randint(0, 256, (8, 3, 32, 32), dtype=torch.uint8)
    window, found = generator.native, {}
    z = torch.randn(64, 8)
    for weight in (0.0, 10.0):
        config = tiny.with_setting(f"training.seams={weight}", "training.learning_rate=3e-3")
        trainer = Trainer(config, seed=0, device=CPU, start=Start(generator))
        for _ in range(40):
            trainer.step(Pictures(fine, resolution=16))
        with torch.no_grad():
            found[weight] = abs(float(seam_ratio(trainer.generator(z), window).log()))
    assert found[10.0] < found[0.0] / 2, found


# personas' training pictures have less at the borders of cells than inside them: the first 32 have 0.94.
@pytest.mark.parametrize(("name", "native"), [("personas", 0.94), ("cifar10-32", 1.0)])
def test_no_seam_shows_in_the_shipped_models(name: str, native: float) -> None:
    found = ratios(load_generator(SHIPPED_MODELS / name), zooms=(1, 2, 4))
    assert all(0.95 <= found[zoom] / (native if zoom == 1 else 1) <= 1.05 for zoom in found), found
