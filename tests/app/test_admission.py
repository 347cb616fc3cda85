"""Admission in one Redis, by several processes' gates."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
from collections.abc import AsyncIterator, Callable

import pytest
import redis.asyncio
from redis import Redis

from app.admission import Gate, Place, seconds_until
from app.errors import QuotaUsed, ServiceError, Unavailable
from app.orders import ALONE_PIXELS
from contract import keys
from contract.jobs import ANONYMOUS
from tests.app.conftest import Start
from tests.app.test_generate import refused

Open = Callable[..., Gate]
M = 2**20  # pixels of a large image


@pytest.fixture
async def gates(redis: Redis, valkey_url: str) -> AsyncIterator[Open]:
    """Gates of as many processes as are asked for."""
    del redis  # everything is forgotten
    async with contextlib.AsyncExitStack() as stack:
        tasks = []
        client = await stack.enter_async_context(_client(valkey_url))

        def make(max_images: int = 10, max_pixels: int = 100 * M, client_pixels: int = 100 * M) -> Gate:
            gate = Gate(client, f"process-{len(tasks)}", max_images, max_pixels, client_pixels)
            tasks.append(asyncio.create_task(gate.keep_forever()))
            return gate

        yield make
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _client(url: str) -> redis.asyncio.Redis:
    return redis.asyncio.Redis.from_url(url)


async def tried(gate: Gate, client: str = "a", bound: int | None = None, pixels: int = 1) -> object:
    try:
        return await gate.enter(client, bound, 1, pixels)
    except ServiceError as error:
        return error


async def test_two_processes_together_never_pass_the_bound(gates: Open) -> None:
    one, two = gates(), gates()
    got = await asyncio.gather(*(tried(gate) for gate in (one, two) * 50))
    places = [place for place in got if isinstance(place, Place)]
    assert len(places) == 10
    told = [error for error in got if isinstance(error, Unavailable)]
    assert len(told) == 90
    assert "of 10" in told[0].detail
    places[0].leave()
    places[0].leave()  # twice does no harm
    owner = places[0].gate
    again = await tried(owner)
    assert isinstance(again, Place)
    assert isinstance(await tried(owner), Unavailable)


async def test_pixels_are_bounded_but_one_image_alone_may_have_more(gates: Open) -> None:
    gate = gates(max_pixels=M, client_pixels=5 * M)
    alone = await tried(gate, pixels=5 * M)
    assert isinstance(alone, Place)
    refusal = await tried(gate, "b", pixels=M)
    assert isinstance(refusal, Unavailable)
    assert f"{5 * M} pixels are waiting already, of {M}" in refusal.detail
    assert isinstance(await tried(gate, pixels=ALONE_PIXELS), Place)  # small images always pass
    alone.leave()
    assert isinstance(await tried(gate, pixels=M // 2), Place)


async def test_one_clients_largest_images_keep_nobody_else_out(gates: Open) -> None:
    one, two = gates(max_pixels=4 * M, client_pixels=M), gates(max_pixels=4 * M, client_pixels=M)
    held = await tried(one, "a", pixels=4096 * M)  # 65,536 pixels a side
    refusal = await tried(two, "a", pixels=M)
    assert isinstance(held, Place)
    assert isinstance(refusal, QuotaUsed)
    assert f"this key may have {M} pixels of large images" in refusal.detail
    for pixels in (M // 2, 4096 * M):
        assert isinstance(await tried(two, "b", pixels=pixels), Place)
    assert isinstance(await tried(two, "a", pixels=ALONE_PIXELS), Place)


async def test_without_keys_one_largest_image_leaves_room_for_others(gates: Open) -> None:
    gate = gates(max_pixels=4 * M, client_pixels=M)
    held = [await tried(gate, ANONYMOUS, pixels=4096 * M) for _ in range(4)]
    assert all(isinstance(place, Place) for place in held)
    assert isinstance(await tried(gate, ANONYMOUS, pixels=M), Unavailable)


async def test_what_the_client_has_of_an_image_counts_no_more_and_tells_the_rate(gates: Open) -> None:
    gate = gates(max_pixels=100 * M)
    place = await tried(gate, pixels=100 * M)
    assert isinstance(place, Place)
    place.advance(0.5)
    place.advance(0.2)  # what came before is not taken twice
    assert (gate.pixels, gate.client_pixels["a"]) == (50 * M, 50 * M)
    held = await tried(gate, "b", pixels=50 * M)
    assert isinstance(held, Place)
    refusal = await tried(gate, "c", pixels=100 * M)
    assert isinstance(refusal, Unavailable)
    assert refusal.retry_after == 20  # 100 M too many, and 50 M were sent in ten seconds
    place.leave()
    place.advance(1)
    assert (gate.pixels, gate.client_pixels["a"]) == (50 * M, 0)


async def test_a_client_has_its_own_bound_over_all_processes(gates: Open) -> None:
    one, two = gates(), gates()
    held = [await tried(one, "a", bound=2), await tried(two, "a", bound=2)]
    assert all(isinstance(place, Place) for place in held)
    refusal = await tried(two, "a", bound=2)
    assert isinstance(refusal, QuotaUsed)
    assert "this key may have 2 images" in refusal.detail
    assert isinstance(await tried(two, "b", bound=2), Place)  # another one is not concerned


async def test_a_place_that_nobody_holds_is_given_back(gates: Open) -> None:
    gate = gates(max_images=1)
    place = await tried(gate)
    assert isinstance(await tried(gate), Unavailable)
    del place
    gc.collect()
    assert isinstance(await tried(gate), Place)


async def test_one_who_leaves_before_the_answer_holds_nothing(gates: Open) -> None:
    gate = gates(max_images=1)
    asking = asyncio.create_task(gate.enter("a", None, 1, 1))
    await asyncio.sleep(0)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    assert isinstance(await tried(gate), Place)


async def test_a_process_that_died_counts_no_more(
    gates: Open, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead = {
        "images": 10,
        "pixels": 10,
        "clients": {"a": 10},
        "rate": 0,
        "pixel_rate": 0,
        "at": redis.time()[0],
    }
    redis.hset(keys.GATES, "dead", json.dumps(dead))
    gate = gates()
    assert isinstance(await tried(gate), Unavailable)
    redis.hset(keys.GATES, "dead", json.dumps(dead | {"at": dead["at"] - 31}))
    assert isinstance(await tried(gate), Place)
    assert list(redis.hkeys(keys.GATES)) == ["process-0"]  # type: ignore[arg-type]


async def test_what_a_time_out_left_unknown_is_set_right(gates: Open, redis: Redis) -> None:
    gate = gates()
    await tried(gate)
    wrong = {
        "images": 10,
        "pixels": 10,
        "clients": {"a": 10},
        "rate": 0,
        "pixel_rate": 0,
        "at": redis.time()[0],
    }
    redis.hset(keys.GATES, gate.id, json.dumps(wrong))  # as if an answer had been lost
    assert isinstance(await tried(gate), Place)


async def test_when_to_come_back_follows_from_how_fast_it_goes(gates: Open) -> None:
    gate = gates(max_images=100)
    for _ in range(50):  # finished within the ten seconds that are looked at: 5 a second
        place = await tried(gate)
        assert isinstance(place, Place)
        place.leave()
    held = [await gate.enter("a", None, 100, 1)]
    refusal = await tried(gate)
    assert isinstance(refusal, Unavailable)
    assert refusal.retry_after == 1
    with pytest.raises(Unavailable) as many:
        await gate.enter("b", None, 40, 1)
    assert many.value.retry_after == 8  # 40 at 5 a second
    assert held[0].images == 100


def test_retry_after_is_whole_seconds_within_bounds() -> None:
    assert [seconds_until(*case) for case in ((1, 0), (1, 100), (30, 4), (10_000, 1))] == [2, 1, 8, 120]


async def test_a_refusal_says_when_to_come_back(start: Start) -> None:
    api = await start(max_waiting=1)
    place = await api.services.gate.enter("other", None, 1, 1)
    answer = await api.http.post("/generate", json={})
    refused(answer, 503, "1 images are waiting already")
    assert int(answer.headers["retry-after"]) >= 1
    place.leave()
    assert (await api.http.post("/generate", json={})).status_code == 200
    assert api.services.gate.images == 0
