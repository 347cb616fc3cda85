"""Silent and slow receivers hold up nobody else's webhooks."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import threading
from collections import Counter
from collections.abc import AsyncIterator

import pytest
from redis import Redis

from app import addresses, webhooks
from app.webhook_turns import MOST, OF_OWNER, OF_RECEIVER, SLOW_SECONDS, Turns
from contract import keys
from contract.jobs import JobStore
from contract.webhooks import Due
from tests.app.conftest import Api, Start
from tests.app.receiver import SECRET, Receiver, ended, listening, soon


def dues(count: int, owner: str = "one", host: str = "silent", start: int = 0) -> list[Due]:
    """Of one receiver; with ``{}`` in the name of as many."""
    return [
        Due(f"{owner} {host} {number}", owner, f"https://{host.format(number)}.example/")
        for number in range(start, start + count)
    ]


def hosts(chosen: list[Due]) -> Counter[str]:
    return Counter(due.receiver for due in chosen)


def test_a_receiver_has_so_many_at_a_time() -> None:
    turns = Turns()
    waiting = dues(1000)
    chosen = turns.begin(waiting)
    assert chosen == waiting[:OF_RECEIVER]
    assert turns.begin(waiting) == []
    assert turns.begin([*waiting, *dues(1, host="good")]) == dues(1, host="good")
    turns.end(chosen[0])
    assert turns.begin(waiting[1:]) == [waiting[OF_RECEIVER]]


def test_an_owner_has_half_of_all_places() -> None:
    turns = Turns()
    many = dues(1000, "many", "host{}")
    assert turns.begin(many) == many[:OF_OWNER]
    other = dues(3, "other", "good")
    assert turns.begin([*many, *other]) == other


def test_whose_fewest_are_under_way_is_next() -> None:
    """Among owners, then among the receivers of one."""
    turns = Turns()
    waiting = [d for owner in ("a", "b", "c") for d in dues(500, owner, owner + "{}")]
    chosen = turns.begin(waiting)
    assert len(chosen) == MOST
    counts = Counter(due.owner for due in chosen)
    assert max(counts.values()) - min(counts.values()) <= 1
    turns.end(chosen[0])
    late = dues(1, "late", "late")
    assert turns.begin([*waiting, *late]) == late


def test_those_that_did_not_answer_share_half_of_the_places() -> None:
    turns = Turns()
    silent = dues(1000, "many", "silent{}")
    for due in turns.begin(silent):
        turns.end(due, SLOW_SECONDS)
    again = turns.begin(silent[:OF_OWNER])
    assert len(again) == OF_OWNER // 2
    new = dues(1, "many", "new")
    assert turns.begin([*silent[:OF_OWNER], *new]) == new
    turns.end(again[0], 0.1)  # it answers again
    assert len(turns.begin(silent[:OF_OWNER])) == 2  # it, and one in its place
    for due in [*again[1:], *new]:
        turns.end(due)


def test_what_ended_leaves_nothing() -> None:
    turns = Turns()
    chosen = turns.begin(dues(100, "a", "host{}"))
    for due in chosen:
        turns.end(due, SLOW_SECONDS)
    for due in turns.begin(dues(64, "a", "host{}")):
        turns.end(due)
    assert not any([turns._under_way, turns._owners, turns._receivers, turns._slow_owners])
    assert len(turns._slow) == len(chosen) - 64


@pytest.fixture
async def api(start: Start, monkeypatch: pytest.MonkeyPatch) -> Api:
    """It waits for receivers for longer than a test does."""
    monkeypatch.setattr(webhooks, "ANSWER_SECONDS", 100)
    return await start(webhook_secret=SECRET, webhook_allow_private=True)


@pytest.fixture
async def good() -> AsyncIterator[Receiver]:
    async with listening(Receiver()) as receiver:
        yield receiver


async def test_a_receiver_that_never_answers_holds_up_no_other(api: Api, good: Receiver) -> None:
    async with listening(Receiver(["silence"] * 200)) as silent:
        for _ in range(64):
            ended(api.services.jobs, silent.url())
        await soon(lambda: len(silent.posts) == OF_RECEIVER)
        ended(api.services.jobs, good.url())
        await soon(lambda: len(good.posts) == 1)
        assert len(silent.posts) == OF_RECEIVER


async def test_many_receivers_that_never_answer_hold_up_no_other(api: Api, good: Receiver) -> None:
    async with contextlib.AsyncExitStack() as stack:
        silent = [await stack.enter_async_context(listening(Receiver(["silence"]))) for _ in range(64)]
        for one in silent:
            ended(api.services.jobs, one.url())
        await soon(lambda: all(len(one.posts) == 1 for one in silent))
        ended(api.services.jobs, good.url())
        await soon(lambda: len(good.posts) == 1)


async def test_names_that_are_looked_up_for_ever_hold_up_no_other(
    start: Start, good: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The attempt ends, its thread does not; until then it counts."""
    found, looked_up = threading.Event(), Counter[str]()

    def look_up(host: str, port: int) -> list[addresses.Address]:
        looked_up[host] += 1
        if host.startswith("slow"):
            found.wait(60)
            raise socket.gaierror
        return [ipaddress.ip_address("127.0.0.1")]

    monkeypatch.setattr(addresses, "look_up", look_up)
    monkeypatch.setattr(webhooks, "ANSWER_SECONDS", 0.2)
    monkeypatch.setattr(webhooks, "FIRST_PAUSE", 0.05)
    monkeypatch.setattr(webhooks, "LOOK_SECONDS", 0.05)
    api = await start(webhook_secret=SECRET, webhook_allow_private=True)
    for number in range(64):
        ended(api.services.jobs, f"http://slow{number % 4}.example/")
    await soon(lambda: looked_up.total() == 4 * OF_RECEIVER)
    ended(api.services.jobs, good.url("good.example"))
    await soon(lambda: len(good.posts) == 1)
    assert looked_up.total() == 4 * OF_RECEIVER + 1
    found.set()


async def test_a_record_that_cannot_be_read_keeps_no_place_and_is_given_up(
    start: Start, good: Receiver, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhooks, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(webhooks, "FIRST_PAUSE", 0.05)
    broken = [ended(JobStore(redis), good.url()) for _ in range(OF_RECEIVER)]
    for job_id in broken:
        redis.hset(keys.job(job_id), "request", "no JSON")
    api = await start(webhook_secret=SECRET, webhook_allow_private=True, webhook_attempts=2)
    await soon(lambda: redis.zcard(keys.WEBHOOKS_DEAD) == OF_RECEIVER)
    ended(api.services.jobs, good.url())
    await soon(lambda: len(good.posts) == 1)


async def test_more_than_are_looked_at_are_all_delivered(
    start: Start, good: Receiver, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others are put off while those before them have no turn."""
    monkeypatch.setattr(webhooks, "LOOK_AT", 10)
    monkeypatch.setattr(webhooks, "PUT_OFF_SECONDS", 1.0)
    monkeypatch.setattr(webhooks, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(webhooks, "ANSWER_SECONDS", 100)
    api = await start(webhook_secret=SECRET, webhook_allow_private=True)
    async with listening(Receiver(["silence"] * 200)) as silent:
        for _ in range(40):
            ended(api.services.jobs, silent.url())
        ids = [ended(api.services.jobs, good.url()) for _ in range(40)]
        await soon(lambda: len(good.posts) == 40)
        assert sorted(post.headers["webhook-id"] for post in good.posts) == sorted(f"job_{i}" for i in ids)
        assert redis.zcard(keys.WEBHOOKS_DUE) == 40
