"""More requests than the service takes: a bound that holds, and refusals that say when to come again."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from pathlib import Path

import httpx
import pytest
from redis import Redis

from tests.acceptance.processes import service_of, until
from tests.conftest import free_port

pytestmark = [pytest.mark.faults, pytest.mark.timeout(240)]

BOUND, ASKED = 50, 500


def is_alive(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/healthz").status_code == 200
    except httpx.TransportError:
        return False


async def ask(ports: list[int], refused: asyncio.Event) -> list[httpx.Response]:
    """All at once, half of them to each API; tells when as many as must be are refused."""
    limits = httpx.Limits(max_connections=None)
    counted = 0
    async with httpx.AsyncClient(timeout=120, limits=limits) as http:

        async def one(number: int) -> httpx.Response:
            nonlocal counted
            url = f"http://127.0.0.1:{ports[number % len(ports)]}/generate"
            answer = await http.post(url, json={"seed": number, "resolution": 64})
            counted += answer.status_code != 200
            if counted >= ASKED - BOUND:
                refused.set()
            return answer

        return await asyncio.gather(*(one(number) for number in range(ASKED)))


def test_a_crowd_is_never_let_in_above_the_bound(tmp_path: Path, redis: Redis, valkey_url: str) -> None:
    """500 POSTs at once to two APIs while the worker is frozen: at most 50 wait, the others are refused.

    When the worker is let go on, all that were let in are answered.
    """
    bound = {"VITGAN_MAX_WAITING": str(BOUND)}
    with service_of(1, tmp_path, redis, valkey_url, **bound) as service:
        other = free_port()
        service.start("api", "--port", str(other))
        until(lambda: is_alive(other), 60)
        worker = service.running[1]

        async def crowd() -> list[httpx.Response]:
            refused = asyncio.Event()
            asking = asyncio.create_task(ask([service.port, other], refused))
            await asyncio.wait(
                [asyncio.create_task(refused.wait()), asking], timeout=30, return_when="FIRST_COMPLETED"
            )
            worker.send_signal(signal.SIGCONT)
            return await asking

        worker.send_signal(signal.SIGSTOP)
        answers = asyncio.run(crowd())
    counts = Counter(answer.status_code for answer in answers)
    assert set(counts) <= {200, 429, 503}
    assert counts[200] <= BOUND
    assert counts[200] > BOUND / 2
    assert all(int(answer.headers["retry-after"]) > 0 for answer in answers if answer.status_code != 200)
