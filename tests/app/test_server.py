"""What a connection may hold up, on a real socket: uvicorn with our protocol, and an app made for it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
import uvicorn
from starlette.responses import Response, StreamingResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from app.server import SLICE, protocol
from app.settings import AppSettings

STALL_SECONDS = 1.0  # more than a loaded machine keeps a thread waiting
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


@dataclass
class Endless:
    """Answers with zeros without end; or ends as soon as something of them waits in the server."""

    port: int = 0
    headers: dict[str, str] | None = None  # of an answer that ends
    closed: bool = False
    unsent: Callable[[], int] = int  # bytes that wait in the server

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await StreamingResponse(self.zeros(), headers=self.headers)(scope, receive, send)

    async def zeros(self) -> AsyncIterator[bytes]:
        try:
            while self.headers is None or not self.unsent():
                yield bytes(4096 if self.headers else 2**18)
                await asyncio.sleep(0)
        finally:
            self.closed = True


@contextmanager
def served(app: ASGIApp) -> Iterator[uvicorn.Server]:
    """Serves it until the block ends."""
    http = protocol(AppSettings(stall_seconds=STALL_SECONDS))
    config = uvicorn.Config(
        app, port=0, http=http, ws="none", lifespan="off", log_level="error", timeout_keep_alive=1
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    until(lambda: server.started)
    yield server
    server.should_exit = server.force_exit = True
    thread.join()


def port(server: uvicorn.Server) -> int:
    found: int = server.servers[0].sockets[0].getsockname()[1]
    return found


@pytest.fixture
def endless() -> Iterator[Endless]:
    app = Endless()
    with served(app) as server:
        connections = server.server_state.connections
        app.unsent = lambda: sum(one.transport.get_write_buffer_size() for one in connections)
        app.port = port(server)
        yield app


@pytest.fixture
def client(endless: Endless) -> Iterator[socket.socket]:
    """One that takes little at a time."""
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(60)
        client.connect(("127.0.0.1", endless.port))
        yield client


def until(done: Callable[[], bool], seconds: float = 60) -> None:
    ends = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < ends
        time.sleep(0.02)


def connected(client: socket.socket) -> bool:
    """As the kernel knows: TCP_INFO's first byte is the state."""
    return client.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1) == b"\x01"


def test_who_takes_nothing_is_left_and_the_generator_closed(client: socket.socket, endless: Endless) -> None:
    started = time.monotonic()
    client.sendall(GET)
    until(lambda: not connected(client))
    assert time.monotonic() - started > STALL_SECONDS
    until(lambda: endless.closed)


def test_who_takes_little_is_served(client: socket.socket, endless: Endless) -> None:
    client.sendall(GET)
    ends = time.monotonic() + 4 * STALL_SECONDS
    while time.monotonic() < ends:  # far less than would let the server write again
        assert client.recv(4096)
        time.sleep(STALL_SECONDS / 5)
    assert connected(client)
    assert not endless.closed


@pytest.mark.parametrize("connection", ["close", "keep-alive"])
def test_an_answer_that_is_written_but_not_taken_is_left_too(
    client: socket.socket, endless: Endless, connection: str
) -> None:
    endless.headers = {"Connection": connection}
    client.sendall(GET)
    until(lambda: endless.closed)
    until(lambda: not connected(client))


def test_of_many_requests_at_once_few_are_parsed_before_their_turn() -> None:
    go_on, count = threading.Event(), 5000

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.to_thread(go_on.wait)
        await Response(b"x")(scope, receive, send)

    with served(app) as server, socket.create_connection(("127.0.0.1", port(server)), timeout=60) as client:
        client.sendall(b"GET / HTTP/1.1\r\n\r\n" * count)
        until(lambda: any(one.pipeline for one in server.server_state.connections))
        waiting = [len(one.pipeline) for one in server.server_state.connections]
        go_on.set()
        answered = b""
        while answered.count(b"HTTP/1.1 200") < count:
            part = client.recv(65536)
            assert part
            answered += part
        assert max(waiting) <= SLICE / len(b"GET / HTTP/1.1\r\n\r\n")


def test_a_client_that_asks_ahead_and_leaves_is_no_failure(client: socket.socket, endless: Endless) -> None:
    said: list[logging.LogRecord] = []
    log = logging.getLogger("uvicorn.error")
    log.addFilter(keep := lambda record: said.append(record) or True)
    try:
        client.sendall(GET * 3)
        assert client.recv(4096)
        client.close()
        until(lambda: endless.closed)
        time.sleep(0.2)  # for what would come next on that connection
    finally:
        log.removeFilter(keep)
    assert said == []


def test_what_is_no_http_behind_a_request_stays_out_of_the_answer(
    client: socket.socket, endless: Endless
) -> None:
    client.sendall(GET)
    answer = client.recv(4096)
    client.sendall(GET + b"what is no HTTP\r\n\r\n")
    with contextlib.suppress(ConnectionError):
        while part := client.recv(2**20):
            answer += part
    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.count(b"HTTP/1.1") == 1
