from __future__ import annotations

import shutil
import threading

import numpy as np
import pytest

from contract.messages import Side
from contract.models import ModelLibrary, PublishedModel
from tests.worker.conftest import publish_tiny
from worker import engine as engine_module
from worker.engine import Engine, ModelGoneError, core_count

SIZES = [(16, 16), (64, 64), (33, 20), (3, 5), (1, 1), (700, 300)]


def draw(engine: Engine, model: PublishedModel, seeds: list[int], size: tuple[int, int]) -> np.ndarray:
    truncations = [1 - seed % 3 / 4 for seed in seeds]
    strips = engine.draw(model.name, model.digest, seeds, truncations, *map(Side.whole, size))
    return np.concatenate(list(strips), axis=1)


@pytest.mark.parametrize("size", SIZES)
def test_an_image_is_the_same_alone_and_among_others(
    engine: Engine, tiny: PublishedModel, size: tuple[int, int]
) -> None:
    alone = draw(engine, tiny, [5], size)[0]
    assert alone.shape == (size[1], size[0], 3)
    for seeds in ([5, 6], [1, 2, 3, 4, 5], list(range(40))):
        assert np.array_equal(draw(engine, tiny, seeds, size)[seeds.index(5)], alone)


@pytest.mark.parametrize("size", SIZES)
def test_the_number_of_threads_changes_nothing(
    library: ModelLibrary, tiny: PublishedModel, size: tuple[int, int]
) -> None:
    one, three = Engine(library, threads=1), Engine(library, threads=3)
    assert np.array_equal(draw(one, tiny, [1, 2], size), draw(three, tiny, [1, 2], size))


def test_several_threads_may_ask_at_once(engine: Engine, tiny: PublishedModel) -> None:
    expected = draw(engine, tiny, [1], (200, 200))
    got: list[bool] = []

    def ask() -> None:
        got.extend(np.array_equal(draw(engine, tiny, [1], (200, 200)), expected) for _ in range(5))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == [True] * 20


def test_truncation_0_is_the_mean_picture_of_every_seed(engine: Engine, tiny: PublishedModel) -> None:
    seeds = [1, 2, 3]
    side = Side.whole(32)
    flat, full = (
        np.concatenate(list(engine.draw("tiny", tiny.digest, seeds, [psi] * 3, side, side)), axis=1)
        for psi in (0.0, 1.0)
    )
    assert np.array_equal(flat[0], flat[1])
    assert np.array_equal(flat[0], flat[2])
    assert not np.array_equal(full[0], full[1])


def test_a_model_that_was_replaced_or_removed_is_gone(library: ModelLibrary, tiny: PublishedModel) -> None:
    engine = Engine(library)
    publish_tiny(tiny.folder, seed=1)
    with pytest.raises(ModelGoneError):
        draw(engine, tiny, [1], (16, 16))
    shutil.rmtree(tiny.folder)
    with pytest.raises(ModelGoneError):
        draw(engine, tiny, [1], (16, 16))


def test_a_model_that_does_not_load_holds_up_no_other(
    library: ModelLibrary, tiny: PublishedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mount cannot be made to stall here: the library's look at it does."""
    engine, goes_on, look = Engine(library), threading.Event(), library.get
    before = draw(engine, tiny, [1], (16, 16))
    publish_tiny(tiny.folder.parent / "other", seed=1)
    other = library.get("other")
    monkeypatch.setattr(library, "get", lambda name: goes_on.wait(60) and look(name))
    monkeypatch.setattr(engine_module, "LOAD_SECONDS", 0.1)
    with pytest.raises(TimeoutError, match="other has not loaded"):
        draw(engine, other, [1], (16, 16))
    assert np.array_equal(draw(engine, tiny, [1], (16, 16)), before)
    goes_on.set()
    monkeypatch.setattr(engine_module, "LOAD_SECONDS", 30)
    assert not np.array_equal(draw(engine, other, [1], (16, 16)), before)


def test_only_so_many_models_stay_loaded(library: ModelLibrary, tiny: PublishedModel) -> None:
    publish_tiny(tiny.folder.parent / "other", seed=1)
    engine = Engine(library, loaded_models=1)
    before = draw(engine, tiny, [1], (16, 16))
    assert not np.array_equal(draw(engine, library.get("other"), [1], (16, 16)), before)
    shutil.rmtree(tiny.folder)
    with pytest.raises(ModelGoneError):
        draw(engine, tiny, [1], (16, 16))


def test_no_setting_means_all_cores() -> None:
    assert core_count(3) == 3
    assert core_count(0) >= 1
