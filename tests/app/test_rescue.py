"""Orders that nobody draws are asked for again, clients that leave are not drawn for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import ClassVar

import httpx
import pytest
from redis import Redis

from app.orders import Shape
from app.rescue import Rescue
from contract import keys
from contract.messages import BEGINNING, Order, Side
from contract.presence import ALIVE_SECONDS
from contract.queue import GENERATE
from contract.stream import GONE, Frame, Kind
from tests.app.conftest import Api, Start, whole
from tests.app.test_generate import refused


async def asked(api: Api, count: int = 1) -> list[asyncio.Task[httpx.Response]]:
    """Requests that nobody answers, all of them with the painter."""
    api.painter.answer = lambda batch: []
    before = sum(len(batch.items) for batch in api.painter.batches)
    body = {"resolution": 32}
    tasks = [asyncio.create_task(api.http.post("/generate", json=body)) for _ in range(count)]
    await reached(lambda: sum(len(batch.items) for batch in api.painter.batches) == before + count)
    return tasks


def age(api: Api, seconds: float) -> None:
    """As if the orders had been sent so much earlier."""
    for sent in api.services.coalescer.sent.values():
        sent.asked = time.monotonic() - seconds


async def test_what_a_dead_worker_had_taken_is_drawn_by_another(api: Api, redis: Redis) -> None:
    rescue = Rescue(api.services.coalescer, api.services.fleet.redis)
    (task,) = await asked(api)
    (batch,) = api.painter.batches
    redis.zadd(keys.workers(GENERATE), {"w": redis.time()[0]})
    redis.rpush(keys.replies(batch.reply_to), Frame(batch.id, Kind.TAKEN, meta={"worker": "w"}).encode())
    while not api.services.coalescer.sent[batch.id].worker:
        await asyncio.sleep(0.01)
    age(api, 60)
    await rescue.look()
    assert len(api.painter.batches) == 1  # it lives: slow is not lost
    redis.zadd(keys.workers(GENERATE), {"w": redis.time()[0] - 2 * ALIVE_SECONDS})
    api.painter.answer = whole
    await rescue.look()
    assert (await task).status_code == 200
    assert [sent.items for sent in api.painter.batches] == [batch.items] * 2


async def test_only_the_images_that_are_missing_are_asked_for_again(api: Api, redis: Redis) -> None:
    tasks = await asked(api, 3)
    first = next(batch for batch in api.painter.batches if len(batch.items) > 1)
    done, *missing = first.items
    answer = whole(first)[0]
    redis.rpush(keys.replies(first.reply_to), answer.encode())
    while done.id in api.services.coalescer.sent[first.id].open:
        await asyncio.sleep(0.01)
    age(api, 60)
    api.painter.answer = whole
    await Rescue(api.services.coalescer, redis).look()
    assert {task.status_code for task in await asyncio.gather(*tasks)} == {200}
    again = [batch for batch in api.painter.batches if batch.id == first.id][-1]
    assert list(again.items) == missing


async def test_an_order_that_waits_in_the_queue_is_left_there(api: Api, redis: Redis) -> None:
    tasks = await asked(api)
    redis.rpush(keys.of_version(GENERATE), "a message")
    age(api, 60)
    rescue = Rescue(api.services.coalescer, redis)
    await rescue.look()
    assert len(api.painter.batches) == 1
    redis.delete(keys.of_version(GENERATE))
    await rescue.look()  # nobody has taken it, and it is not there: lost
    await rescue.look()  # asked for just now
    assert len(api.painter.batches) == 2
    age(api, 60)
    api.painter.answer = whole
    await rescue.look()
    assert (await tasks[0]).status_code == 200


async def test_a_client_that_leaves_while_the_rest_is_asked_for_leaves_nothing_behind(
    api: Api, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    orders: list[Order] = []

    async def stuck(order: Order) -> None:
        orders.append(order)
        await asyncio.Event().wait()

    coalescer = api.services.coalescer
    monkeypatch.setattr(coalescer, "publish", stuck)
    side = Side(full=32, start=0, length=32, count=32)
    rest = asyncio.create_task(coalescer.carry_on(Shape("m", "d", side, side), 1, 1.0, BEGINNING))
    await reached(lambda: bool(orders))
    assert len(api.services.replies) == 1
    rest.cancel()
    await asyncio.gather(rest, return_exceptions=True)
    assert rest.cancelled()
    assert len(api.services.replies) == 0
    assert redis.lrange(keys.credits(orders[0].images[0]), 0, -1) == [GONE.decode()]  # whoever draws it stops


async def test_a_client_says_how_long_it_waits(api: Api) -> None:
    api.painter.answer = lambda batch: []
    started = time.time()
    answer = await api.http.post("/generate", json={}, headers={"Prefer": "wait=1"})
    refused(answer, 503, "within 1 s")
    assert time.time() - started < 10  # and not the 60 s of the service
    (batch,) = api.painter.batches
    assert batch.deadline - started < 10  # nor is it drawn later


class Caller:
    """A client that asks for an image and can close its connection."""

    SCOPE: ClassVar = {
        "type": "http", "method": "POST", "path": "/generate", "query_string": b"", "root_path": "",
        "headers": [(b"content-type", b"application/json")], "http_version": "1.1", "scheme": "http",
        "server": ("test", 80), "client": ("test", 1), "raw_path": b"/generate",
    }  # fmt: skip

    def __init__(self, api: Api) -> None:
        self.left, self.parts = asyncio.Event(), [b'{"resolution": 32}']
        self.call = asyncio.create_task(api.app({**self.SCOPE, "state": {}}, self.receive, self.send))

    async def receive(self) -> dict[str, object]:
        if self.parts:
            return {"type": "http.request", "body": self.parts.pop()}
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: object) -> None:
        return None

    async def leave(self) -> None:
        self.left.set()
        await self.call


async def reached(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.01)


async def test_an_image_that_is_with_a_worker_is_stopped_when_its_client_leaves(
    api: Api, redis: Redis
) -> None:
    api.painter.answer = lambda batch: []
    caller = Caller(api)
    await reached(lambda: bool(api.painter.batches))
    await caller.leave()
    (item,) = api.painter.batches[0].items
    assert redis.lrange(keys.credits(item.id), 0, -1) == [GONE.decode()]
    assert (api.services.gate.images, len(api.services.replies)) == (0, 0)
    assert api.services.coalescer.sent == {}


async def test_an_image_that_waits_is_never_sent_when_its_client_leaves(start: Start, redis: Redis) -> None:
    api = await start(gather_seconds=0)
    busy = [await asked(api), await asked(api)]  # the workers have all that they can take
    caller = Caller(api)
    await reached(lambda: len(api.services.replies) == 3)
    await caller.leave()
    assert (api.services.gate.images, len(api.services.replies)) == (2, 2)
    assert redis.keys("vitgan:credits:*") == []  # no worker has heard of it
    age(api, 60)
    api.painter.answer = whole
    await Rescue(api.services.coalescer, redis).look()
    for (task,) in busy:
        assert (await task).status_code == 200
    assert sum(len(batch.items) for batch in api.painter.batches) == 4  # two, each asked for twice
