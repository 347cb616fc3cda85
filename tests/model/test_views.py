from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from model.config import Config
from model.views import View, draw_views


@pytest.fixture
def zoomed(tiny: Config) -> Config:
    """Crops of up to 4 times the native 16 px; 128 fine pixels a side."""
    return replace(
        tiny, generator=replace(tiny.generator, zoom=4), training=replace(tiny.training, oversample=8)
    )


def test_without_zoom_there_is_one_view_shifted_by_half_a_pixel_at_most(tiny: Config) -> None:
    drawn = [draw_views(tiny) for _ in range(60)]
    assert {len(views) for views in drawn} == {1}
    assert {view.scale for (view,) in drawn} == {1}
    assert {view.x for (view,) in drawn} == {view.y for (view,) in drawn} == {-1, 0, 1}


def test_with_zoom_half_of_the_batch_are_crops_of_all_scales_and_places(zoomed: Config) -> None:
    drawn = [draw_views(zoomed) for _ in range(400)]
    assert {whole.scale for whole, _ in drawn} == {1}
    crops = [crop for _, crop in drawn]
    assert {crop.scale for crop in crops} == {2, 4}
    for scale, last in ((2, 64), (4, 96)):
        places = [at for crop in crops if crop.scale == scale for at in (crop.x, crop.y)]
        assert (min(places), max(places)) == (pytest.approx(0, abs=4), pytest.approx(last, abs=4))
        assert 0 <= min(places) <= max(places) <= last  # a crop never looks beyond the edge


def test_d_is_told_how_fine_and_where(zoomed: Config) -> None:
    assert View(1, -3, 2).place(zoomed).tolist() == [0, 0, 0]
    assert View(2, 0, 64).place(zoomed).tolist() == [0.5, -0.5, 0.5]
    assert View(4, 48, 96).place(zoomed).tolist() == [1, 0, 0.75]


@pytest.mark.parametrize("scale", [1, 2, 4])
def test_what_generator_and_data_call_a_view_is_one_place(zoomed: Config, scale: int) -> None:
    """A ramp across the fine picture reads, at each pixel, the place where the generator paints it."""
    view = View(scale, 12, 5)
    ramp = (torch.arange(128) + 0.5) / 128
    window = view.window(zoomed.generator, 8)
    for axis, at in ((window.columns, view.x), (window.rows, view.y)):
        pixels = axis.pixels
        painted = [(pixels.first + i * pixels.step) / pixels.whole for i in range(pixels.count)]
        step = 8 // scale
        read = [float(ramp[at + i * step : at + (i + 1) * step].mean()) for i in range(16)]
        if scale > 1:  # the whole, shifted, looks beyond the edge
            assert painted == pytest.approx(read, abs=1e-6)
        assert painted[3] == pytest.approx(read[3], abs=1e-6)
    assert window.level == pytest.approx(torch.tensor(float(scale)).log2().item())
