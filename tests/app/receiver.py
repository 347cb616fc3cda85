"""A small server that webhooks are posted to, and what its tests share."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pytest

from contract import keys
from contract.jobs import JobStore
from contract.messages import DrawRequest, Images, Side
from tests.app.conftest import Api

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
SIDE = Side.whole(8)
REQUEST = DrawRequest(model="m", digest="d", what=Images(seeds=(1,), truncation=1, columns=SIDE, rows=SIDE))


@dataclass
class Post:
    """What a receiver was sent."""

    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Receiver:
    """A server on loopback that answers one status line and headers after the other, then 204."""

    answers: list[str] = field(default_factory=list)
    posts: list[Post] = field(default_factory=list)
    port: int = 0
    connections: int = 0

    def url(self, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}/hook?x=1"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            first, *lines = head.strip().split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
            body = await reader.readexactly(int(headers["content-length"]))
            self.posts.append(Post(first.split()[1], headers, body))
            answer = self.answers.pop(0) if self.answers else "204 No Content"
            if answer == "silence":
                await reader.read()  # until the other side gives up
            writer.write(f"HTTP/1.1 {answer}\r\ncontent-length: 0\r\n\r\n".encode())
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def listening(receiver: Receiver, host: str = "127.0.0.1", **more: Any) -> AsyncIterator[Receiver]:
    server = await asyncio.start_server(receiver.serve, host, 0, **more)
    receiver.port = server.sockets[0].getsockname()[1]
    async with server:
        yield receiver


async def soon(done: Callable[[], bool]) -> None:
    ends = time.monotonic() + 15
    while not done():
        assert time.monotonic() < ends, "waited in vain"
        await asyncio.sleep(0.02)


def ended(jobs: JobStore, url: str) -> str:
    """A job that has failed and wants to be told of there."""
    job_id = jobs.create(REQUEST, webhook=url)
    claim = jobs.claim(job_id, DrawRequest)
    assert claim is not None
    assert jobs.fail(claim, "no")
    return job_id


async def given_up(api: Api, job_id: str) -> str:
    """The reason, when it is there."""
    await soon(lambda: api.services.jobs.redis.zscore(keys.WEBHOOKS_DEAD, job_id) is not None)
    (letter,) = (await api.http.get("/webhooks/dead")).json()["items"]
    assert letter["job_id"] == job_id
    died = datetime.fromisoformat(letter["died_at"]).timestamp()
    assert died == pytest.approx(time.time(), abs=60)
    return str(letter["reason"])
