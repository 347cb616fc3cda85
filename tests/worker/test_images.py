from __future__ import annotations

import io
import threading
import time
import uuid
from typing import Any

import pytest
from PIL import Image
from redis import Redis

from contract import keys, stream
from contract.messages import ImageBatch, ImageItem, Side
from contract.models import PublishedModel
from contract.stream import CREDIT, GONE, WINDOW, Frame, Kind
from worker.engine import Engine
from worker.images import draw_batch


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
    assert all(frame.meta == {"worker": "worker-1"} for frame in frames if frame.kind is Kind.TAKEN)
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
        assert (image.size, image.info["Seed"], image.info["Model"]) == ((32, 24), "4", tiny.digest)
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
            got = self.raw.blpop([keys.replies("api")], timeout=5)
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
