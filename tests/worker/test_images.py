from __future__ import annotations

import io
import threading
import time
import uuid
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image
from redis import Redis

from contract import keys, stream
from contract.messages import ImageBatch, ImageItem, Position, Side
from contract.models import PublishedModel
from contract.stream import CREDIT, GONE, WINDOW, Frame, Kind
from model.rendering import strip_rows
from worker.engine import Engine
from worker.images import WAIT_SECONDS, draw_batch


def batch(
    model: PublishedModel,
    seeds: list[int],
    size: tuple[int, int] = (32, 24),
    deadline: float | None = None,
    **more: Any,
) -> ImageBatch:
    now = time.time()
    ends = now + 30 if deadline is None else deadline
    items = tuple(ImageItem(id=uuid.uuid4().hex, seed=seed, truncation=1.0, deadline=ends) for seed in seeds)
    values = {
        "id": uuid.uuid4().hex,
        "reply_to": "api",
        "model": model.name,
        "digest": model.digest,
        "sent_at": now,
    }
    values |= {"columns": Side.whole(size[0]), "rows": Side.whole(size[1])}
    values |= {"deadline": ends, "items": items}
    return ImageBatch(**(values | more))


def replies(raw: Redis) -> list[Frame]:
    """All but the first one, which says who has taken the batch."""
    frames = [Frame.decode(data) for data in raw.lrange(keys.replies("api"), 0, -1)]  # type: ignore[union-attr]
    assert all(set(frame.meta) == {"worker"} for frame in frames if frame.kind is Kind.TAKEN)
    return [frame for frame in frames if frame.kind is not Kind.TAKEN]


def test_every_image_of_a_batch_comes_back_as_a_png(engine: Engine, tiny: PublishedModel, raw: Redis) -> None:
    asked = batch(tiny, [3, 4])
    draw_batch(asked, engine, raw, "worker-1")
    taken = Frame.decode(raw.lindex(keys.replies("api"), 0))  # type: ignore[arg-type]
    assert (taken.kind, taken.id) == (Kind.TAKEN, asked.id)  # said before anything is drawn
    frames = replies(raw)
    assert [(frame.id, frame.kind) for frame in frames] == [(item.id, Kind.LAST) for item in asked.items]
    assert [set(frame.meta) for frame in frames] == [{"queue", "batch", "render", "worker"}] * 2
    with Image.open(io.BytesIO(frames[1].payload)) as image:
        model = engine.identity(tiny.digest)
        assert (image.size, image.info["Seed"], image.info["Model"]) == ((32, 24), "4", model)
    assert 0 < raw.ttl(keys.replies("api")) <= stream.REPLY_TTL


def test_nothing_is_drawn_after_the_deadline(engine: Engine, tiny: PublishedModel, raw: Redis) -> None:
    draw_batch(batch(tiny, [1], deadline=time.time() - 1), engine, raw, "worker-1")
    assert replies(raw) == []


def test_only_what_somebody_still_waits_for_is_drawn(
    engine: Engine, tiny: PublishedModel, raw: Redis
) -> None:
    asked = batch(tiny, [1, 2, 3])
    late = asked.items[1].model_copy(update={"deadline": time.time() - 1})
    draw_batch(
        asked.model_copy(update={"items": (asked.items[0], late, asked.items[2])}), engine, raw, "worker-1"
    )
    assert [frame.id for frame in replies(raw)] == [asked.items[0].id, asked.items[2].id]
    assert replies(raw)[0].meta["batch"] == 2


def test_a_model_that_is_gone_is_told(engine: Engine, tiny: PublishedModel, raw: Redis) -> None:
    draw_batch(batch(tiny, [1], digest="0" * 64), engine, raw, "worker-1")
    assert [(frame.kind, frame.meta["code"]) for frame in replies(raw)] == [(Kind.ERROR, "model_gone")]


def test_an_accident_is_told_without_details(
    engine: Engine, tiny: PublishedModel, raw: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr(engine, "draw", fail)
    draw_batch(batch(tiny, [1, 2]), engine, raw, "worker-1")
    assert [frame.meta for frame in replies(raw)] == [{"code": "internal"}] * 2


@pytest.mark.parametrize("chunk", [stream.CHUNK, 2_000])
def test_an_image_that_cannot_be_drawn_fails_alone(
    engine: Engine, tiny: PublishedModel, raw: Redis, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    """The others come whole, though parts of them may have been sent when the batch failed."""
    monkeypatch.setattr("model.rendering.STRIP_PIXELS", 64 * 16)
    asked, alone = batch(tiny, [1, 2, 3], (64, 48)), {}
    for item in asked.items:
        draw_batch(batch(tiny, [item.seed], (64, 48)), engine, raw, "worker-1")
        alone[item.id] = b"".join(frame.payload for frame in replies(raw))
        raw.delete(keys.replies("api"))
    monkeypatch.setattr("worker.images.CHUNK", chunk)
    paint = engine.draw

    def draw(model: str, digest: str, seeds: list[int], *more: Any) -> Iterator[np.ndarray]:
        for number, strip in enumerate(paint(model, digest, seeds, *more)):
            if 2 in seeds and number == 1:
                raise RuntimeError("seed 2")
            yield strip

    monkeypatch.setattr(engine, "draw", draw)
    draw_batch(asked, engine, raw, "worker-1")
    for item in asked.items:
        frames = [frame for frame in replies(raw) if frame.id == item.id]
        assert frames[0].kind is Kind.DATA or chunk == stream.CHUNK
        if item.seed == 2:
            assert (frames[-1].kind, frames[-1].meta) == (Kind.ERROR, {"code": "internal"})
        else:
            assert frames[-1].kind is Kind.LAST
            assert b"".join(frame.payload for frame in frames) == alone[item.id]


class Reader:
    """A client that takes frames one by one, with a credit for each, in a thread beside the worker."""

    def __init__(self, raw: Redis, item: str, gone_after: int | None = None) -> None:
        self.raw, self.item, self.gone_after = raw, item, gone_after
        self.taken: list[Frame] = []
        self.most_waiting = 0
        self.thread = threading.Thread(target=self.run)

    def run(self) -> None:
        while not self.taken or self.taken[-1].kind is Kind.DATA:
            self.most_waiting = max(self.most_waiting, self.raw.llen(keys.replies("api")))  # type: ignore[type-var]
            got = self.raw.blpop([keys.replies("api")], timeout=60)
            assert got is not None, "the worker stopped sending"
            frame = Frame.decode(got[1])  # type: ignore[index]
            if frame.kind is Kind.TAKEN:
                continue
            self.taken.append(frame)
            gone = len(self.taken) == self.gone_after
            self.raw.rpush(keys.credits(self.item), GONE if gone else CREDIT)
            if gone:
                return


def test_a_large_image_never_runs_ahead_of_its_client(
    engine: Engine, tiny: PublishedModel, raw: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.images.CHUNK", 2_000)
    asked = batch(tiny, [1], (400, 400))
    reader = Reader(raw, asked.items[0].id)
    reader.thread.start()
    draw_batch(asked, engine, raw, "worker-1")
    reader.thread.join()
    assert len(reader.taken) > 2 * WINDOW
    assert reader.most_waiting <= WINDOW + 1
    data = b"".join(frame.payload for frame in reader.taken)
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        assert image.size == (400, 400)


def test_a_worker_that_stops_leaves_the_rest_to_another(
    engine: Engine, tiny: PublishedModel, raw: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says nothing: the API sees that it beats no more, and asks for what is behind its last bytes."""
    monkeypatch.setattr("worker.images.CHUNK", 2_000)
    asked = batch(tiny, [1], (400, 400))
    draw_batch(asked, engine, raw, "worker-1", lambda: raw.llen(keys.replies("api")) >= 3)  # type: ignore[operator]
    begun = replies(raw)
    assert [frame.kind for frame in begun] == [Kind.DATA] * WINDOW  # it waited for a credit
    strip, offset, adler = begun[-1].meta["at"]
    assert begun[-1].meta["strips"] == -(-400 // strip_rows(400))  # so the API knows what share is there
    raw.delete(keys.replies("api"))
    rest = batch(tiny, [1], (400, 400), position=Position(strip=strip, offset=offset, adler=adler))
    monkeypatch.setattr("worker.images.CHUNK", stream.CHUNK)
    draw_batch(rest, engine, raw, "worker-2")
    whole = batch(tiny, [1], (400, 400))
    draw_batch(whole, engine, raw, "worker-2")
    end, all_of_it = replies(raw)
    assert b"".join(frame.payload for frame in [*begun, end]) == all_of_it.payload


def test_a_worker_that_stops_waits_for_no_credit(
    engine: Engine, tiny: PublishedModel, raw: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.images.CHUNK", 2_000)
    asked: list[float] = []

    def third_look_at_a_full_window() -> bool:
        """However slowly it is drawn: the window fills, and then the worker waits for a credit."""
        if len(replies(raw)) == WINDOW:
            asked.append(time.monotonic())
        return len(asked) == 3

    draw_batch(batch(tiny, [1], (400, 400)), engine, raw, "worker-1", third_look_at_a_full_window)
    assert len(asked) == 3
    assert asked[-1] - asked[-2] > WAIT_SECONDS / 2  # it was waiting when it looked
    assert [frame.kind for frame in replies(raw)] == [Kind.DATA] * WINDOW


def test_the_work_stops_when_the_client_has_gone(
    engine: Engine, tiny: PublishedModel, raw: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.images.CHUNK", 2_000)
    asked = batch(tiny, [1], (400, 400))
    reader = Reader(raw, asked.items[0].id, gone_after=1)
    reader.thread.start()
    draw_batch(asked, engine, raw, "worker-1")
    reader.thread.join()
    assert all(frame.kind is Kind.DATA for frame in replies(raw))
    assert len(replies(raw)) < WINDOW + 1
