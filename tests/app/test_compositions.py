"""POST /interpolate, and grids of POST /generate."""

from __future__ import annotations

from typing import Any

import pytest

from contract import keys
from contract.messages import Composition, Grid, Walk
from contract.stream import Frame, Kind
from tests.app.conftest import Api, Start
from tests.app.test_generate import refused


@pytest.fixture
async def api(start: Start) -> Api:
    api = await start()
    answer_compositions(api)
    return api


def answer_compositions(api: Api) -> None:
    """The painter says what it was asked."""

    def answer(order: Any) -> list[Frame]:
        meta = {"queue": 0.001, "batch": 1, "render": 0.002}
        return [Frame(order.id, Kind.LAST, order.what.model_dump_json().encode(), meta)]

    api.painter.answer = answer


async def test_a_walk_as_it_is_asked_for(api: Api) -> None:
    body = {"seeds": "1-3,9", "frames": 50, "resolution": [64, 32], "space": "w", "loop": False, "fps": 30,
            "truncation": 0.5, "format": "webp"}  # fmt: skip
    answer = await api.http.post("/interpolate", json=body)
    assert answer.headers["content-type"] == "image/webp"
    asked = Walk.model_validate_json(answer.content)
    assert (asked.seeds, asked.frames, asked.space, asked.loop) == ((1, 2, 3, 9), 50, "w", False)
    assert (asked.columns.count, asked.rows.count, asked.fps, asked.truncation) == (64, 32, 30, 0.5)
    again = await api.http.post("/interpolate", json=body)
    assert again.headers["etag"] == answer.headers["etag"]
    other = await api.http.post("/interpolate", json=body | {"fps": 31})
    assert other.headers["etag"] != answer.headers["etag"]
    assert isinstance(api.painter.batches[0], Composition)


async def test_a_walk_is_an_apng_unless_told_otherwise(api: Api) -> None:
    answer = await api.http.post("/interpolate", json={"seeds": [1, 2]})
    assert answer.headers["content-type"] == "image/apng"
    asked = Walk.model_validate_json(answer.content)
    assert (asked.frames, asked.space, asked.loop, asked.fps) == (72, "z", True, 24)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, ("seeds", "required")),
        ({"seeds": [1]}, ("seeds", "two or more")),
        ({"seeds": [1, 1]}, ("seeds", "twice")),
        ({"seeds": "0-9", "frames": 5}, ("frames", "5", "10 seeds")),
        ({"seeds": [1, 2], "frames": 1001}, ("frames", "1001", "1000")),
        ({"seeds": [1, 2], "frames": 1}, ("frames", "2")),
        ({"seeds": [1, 2], "space": "y"}, ("space", "'z' or 'w'")),
        ({"seeds": [1, 2], "format": "gif"}, ("format", "'png' or 'webp'")),
        ({"seeds": [1, 2], "fps": 61}, ("fps", "60")),
        ({"seeds": [1, 2], "resolution": 5000}, ("resolution", "16777216")),
        (
            {"seeds": [1, 2], "resolution": 1024, "format": "webp"},
            ("in all", "png may be larger"),
        ),
        ({"seeds": [1, 2], "resolution": 4096, "frames": 300}, ("in all", "4294967296")),
        ({"seeds": [1, 2], "frame": 9}, ("frame", "unknown field")),
    ],
)
async def test_a_wrong_walk_is_told(api: Api, body: dict[str, object], words: tuple[str, ...]) -> None:
    refused(await api.http.post("/interpolate", json=body), 422, *words)
    assert api.painter.batches == []


@pytest.mark.parametrize(("count", "across", "expected"), [(9, None, 3), (10, None, 4), (3, 8, 3), (5, 1, 1)])
async def test_a_grid_is_one_png(api: Api, count: int, across: int | None, expected: int) -> None:
    body = {"seeds": f"0-{count - 1}", "layout": "grid", "resolution": 32}
    body |= {"across": across} if across else {}
    answer = await api.http.post("/generate", json=body)
    assert answer.headers["content-type"] == "image/png"
    asked = Grid.model_validate_json(answer.content)
    assert (asked.seeds, asked.across) == (tuple(range(count)), expected)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"layout": "grid"}, ("layout", "several seeds")),
        ({"layout": "grid", "seeds": [1, 2], "format": "webp"}, ("layout", "png")),
        ({"across": 2, "seeds": [1, 2]}, ("across", "layout")),
        ({"layout": "grid", "seeds": "0-99", "resolution": 8192}, ("81920x81920", "65536")),
        ({"layout": "grid", "seeds": "0-24", "resolution": [13107, 13107]}, ()),
    ],
)
async def test_a_wrong_grid_is_told(api: Api, body: dict[str, object], words: tuple[str, ...]) -> None:
    answer = await api.http.post("/generate", json=body)
    if words:
        refused(answer, 422, *words)
    else:
        assert answer.status_code == 200


async def test_it_breaks_off_or_is_refused_like_an_image(start: Start) -> None:
    idle = await start(alive=False)
    refused(await idle.http.post("/interpolate", json={"seeds": [1, 2]}), 503, "no image worker")
    api = await start()
    api.painter.answer = lambda order: [Frame(order.id, Kind.ERROR, meta={"code": "internal"})]  # type: ignore[attr-defined]
    refused(await api.http.post("/interpolate", json={"seeds": [1, 2]}), 500)

    async def fail(order: object) -> None:
        raise OSError("no broker")

    api.services.coalescer.publish = fail
    refused(await api.http.post("/interpolate", json={"seeds": [1, 2]}), 503, "Redis")
    assert len(api.services.replies) == 0


async def test_pixels_that_wait_are_counted(start: Start) -> None:
    api = await start(max_waiting_pixels=400_000)
    place = await api.services.gate.enter("other", None, 1, 300_000)
    walk = {"seeds": [1, 2], "frames": 300, "resolution": 32}
    refused(await api.http.post("/interpolate", json=walk), 503, "300000 pixels")
    assert api.painter.redis.exists(keys.replies(api.services.replies.id)) == 0
    place.leave()
    answer_compositions(api)
    assert (await api.http.post("/interpolate", json=walk)).status_code == 200
