from __future__ import annotations

import io
import time
import uuid
from typing import Any

import numpy as np
import pytest
from PIL import Image
from redis import Redis

from contract import keys
from contract.messages import Composition, Grid, Position, Side, Walk
from contract.models import PublishedModel
from contract.stream import Frame, Kind
from model.rendering import strip_rows
from worker.compositions import draw_composition, pieces
from worker.engine import Engine

SEEDS = (3, 8, 5, 7, 1)


def grid(width: int = 20, height: int = 12, across: int = 3) -> Grid:
    return Grid(
        seeds=SEEDS, truncation=0.8, columns=Side.whole(width), rows=Side.whole(height), across=across
    )


def walk(frames: int = 10, **more: Any) -> Walk:
    values = {"seeds": SEEDS, "truncation": 0.8, "columns": Side.whole(20), "rows": Side.whole(12)}
    return Walk(**(values | {"frames": frames} | more))


def file(what: Grid | Walk, engine: Engine, model: PublishedModel) -> bytes:
    return b"".join(piece.data for piece in pieces(what, model.name, model.digest, engine))


def picture(engine: Engine, model: PublishedModel, seed: int) -> np.ndarray:
    strips = engine.draw(model.name, model.digest, [seed], [0.8], Side.whole(20), Side.whole(12))
    return np.concatenate(list(strips), axis=1)[0]


def frames_of(data: bytes) -> list[np.ndarray]:
    image, found = Image.open(io.BytesIO(data)), []
    for number in range(image.n_frames):
        image.seek(number)
        found.append(np.asarray(image.convert("RGB")))
    return found


@pytest.mark.parametrize("across", [1, 2, 3, 5])
def test_a_grid_holds_the_seeds_pictures(engine: Engine, tiny: PublishedModel, across: int) -> None:
    with Image.open(io.BytesIO(file(grid(across=across), engine, tiny))) as image:
        sheet = np.asarray(image)
        assert image.info["Seeds"] == "3,8,5,7,1"
    assert sheet.shape == (-(-5 // across) * 12, across * 20, 3)
    for number, seed in enumerate(SEEDS):
        row, column = divmod(number, across)
        shown = sheet[12 * row : 12 * row + 12, 20 * column : 20 * column + 20]
        assert np.array_equal(shown, picture(engine, tiny, seed))
    for number in range(5, -(-5 // across) * across):  # no seed is left for it
        row, column = divmod(number, across)
        assert sheet[12 * row : 12 * row + 12, 20 * column : 20 * column + 20].min() == 255


def test_another_worker_goes_on_at_any_strip_of_a_grid(
    engine: Engine, tiny: PublishedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("model.rendering.STRIP_PIXELS", 64 * 16)
    what = grid(width=64, height=strip_rows(64) + 5, across=2)
    whole = list(pieces(what, tiny.name, tiny.digest, engine))
    assert len(whole) == 3 * 2 + 1
    for number, piece in enumerate(whole):
        position = Position(strip=number, adler=piece.adler)
        assert list(pieces(what, tiny.name, tiny.digest, engine, position)) == whole[number:]


def test_an_animation_shows_the_seeds_on_its_way(engine: Engine, tiny: PublishedModel) -> None:
    data = file(walk(10), engine, tiny)
    frames = frames_of(data)
    assert len(frames) == 10
    for number, seed in enumerate(SEEDS):
        assert np.array_equal(frames[2 * number], picture(engine, tiny, seed))
        assert not np.array_equal(frames[2 * number + 1], frames[2 * number])
    with Image.open(io.BytesIO(data)) as image:
        assert (image.format, image.size, image.info["loop"]) == ("PNG", (20, 12), 0)
        assert image.info["duration"] == pytest.approx(1000 / 24)
        assert (image.info["Seeds"], image.info["Space"]) == ("3,8,5,7,1", "z")


def test_an_open_animation_plays_once_and_ends_on_the_last_seed(engine: Engine, tiny: PublishedModel) -> None:
    data = file(walk(9, loop=False, space="w", fps=10), engine, tiny)
    assert np.array_equal(frames_of(data)[-1], picture(engine, tiny, SEEDS[-1]))
    with Image.open(io.BytesIO(data)) as image:
        assert (image.info["loop"], image.info["duration"]) == (1, 100)


def test_webp_has_the_same_frames_nearly(engine: Engine, tiny: PublishedModel) -> None:
    data = file(walk(10, format="webp"), engine, tiny)
    assert data == file(walk(10, format="webp"), engine, tiny)
    exact, lossy = frames_of(file(walk(10), engine, tiny)), frames_of(data)
    assert len(lossy) == 10
    assert np.abs(np.stack(exact).astype(float) - np.stack(lossy)).mean() < 12


def test_frames_are_the_same_bytes_however_many_are_asked_for(engine: Engine, tiny: PublishedModel) -> None:
    """Every second frame of twenty is one of ten; another worker goes on at any frame."""
    ten, twenty = (frames_of(file(walk(count), engine, tiny)) for count in (10, 20))
    assert np.array_equal(np.stack(ten), np.stack(twenty[::2]))
    whole = list(pieces(walk(20), tiny.name, tiny.digest, engine))
    for number in range(21):
        rest = pieces(walk(20), tiny.name, tiny.digest, engine, Position(strip=number))
        assert list(rest) == whole[number:]


def order(what: Grid | Walk, model: PublishedModel, **more: Any) -> Composition:
    now = time.time()
    values = {"reply_to": "api", "model": model.name, "digest": model.digest, "sent_at": now}
    values |= {"deadline": now + 30, "id": uuid.uuid4().hex, "what": what}
    return Composition(**(values | more))


def replies(redis: Redis, raw: Redis) -> list[Frame]:
    """All but the first one, which says who has taken the order."""
    frames = [Frame.decode(data) for data in raw.lrange(keys.replies("api"), 0, -1)]  # type: ignore[union-attr]
    assert frames[0].kind is Kind.TAKEN
    return frames[1:]


@pytest.mark.parametrize("what", [grid(), walk(), walk(format="webp")])
def test_it_comes_back_to_the_api(
    engine: Engine, tiny: PublishedModel, redis: Redis, raw: Redis, what: Grid | Walk
) -> None:
    asked = Composition.model_validate_json(order(what, tiny).model_dump_json())
    draw_composition(asked, engine, raw, "worker-1")
    frames = replies(redis, raw)
    assert frames[-1].kind is Kind.LAST
    assert frames[0].meta["worker"] == "worker-1"
    assert b"".join(frame.payload for frame in frames) == file(what, engine, tiny)


def test_what_cannot_be_drawn_is_told(engine: Engine, tiny: PublishedModel, redis: Redis, raw: Redis) -> None:
    draw_composition(order(walk(), tiny, digest="0" * 64), engine, raw, "worker-1")
    draw_composition(order(walk(), tiny, deadline=time.time() - 1), engine, raw, "worker-1")
    (frame,) = replies(redis, raw)
    assert (frame.kind, frame.meta["code"]) == (Kind.ERROR, "model_gone")
