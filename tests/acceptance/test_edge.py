"""What a connection may hold up, asked of a real ``vitgan api`` with plain sockets."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from http.client import HTTPResponse
from pathlib import Path

import httpx
import pytest
from redis import Redis

from tests.acceptance.processes import Processes, service_of, until

pytestmark = pytest.mark.acceptance

HEADER_SECONDS, BODY_SECONDS, STALL_SECONDS = 1.0, 1.5, 2.0
ENV = {
    "VITGAN_HEADER_SECONDS": str(HEADER_SECONDS),
    "VITGAN_BODY_SECONDS": str(BODY_SECONDS),
    "VITGAN_STALL_SECONDS": str(STALL_SECONDS),
}
# Seconds more that a loaded machine may take; a connection that nothing watches would time out in the client.
LATE_SECONDS, CLIENT_SECONDS = 10.0, 60.0
POST = b"POST /generate HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
HALF = b'--b\r\nContent-Disposition: form-data; name="na'
UPLOAD = b"POST /datasets HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=b\r\n"
GET = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    """An API without Redis: nothing here needs it."""
    processes = Processes(tmp_path_factory.mktemp("edge"), "redis://127.0.0.1:1/0", **ENV)
    try:
        until(lambda: answers(processes), 30)
        yield processes
    finally:
        processes.stop()


def answers(api: Processes) -> bool:
    try:
        with api.http() as http:
            return http.get("/healthz").status_code == 200
    except httpx.TransportError:
        return False


@pytest.fixture
def client(api: Processes) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", api.port), timeout=CLIENT_SECONDS) as client:
        yield client


def said(client: socket.socket) -> bytes:
    """Everything until the service closes the connection."""
    parts = []
    while part := client.recv(65536):
        parts.append(part)
    return b"".join(parts)


def broken_off(client: socket.socket, part: bytes) -> float:
    """Seconds until no more of such parts are taken."""
    started = time.monotonic()
    try:
        while time.monotonic() < started + 15:
            client.sendall(part)
            time.sleep(0.05)
    except OSError:  # reset, or a broken pipe
        return time.monotonic() - started
    raise AssertionError("it takes them for ever")


def alive(client: socket.socket) -> bool:
    """Whether a request is answered on that connection."""
    client.sendall(GET + b"\r\n")
    answer = b""
    while not answer.endswith(b'"alive"}'):
        answer += client.recv(65536)
    return answer.startswith(b"HTTP/1.1 200")


def refusal(client: socket.socket) -> dict[str, object]:
    """The problem object of an answer that leaves the connection open."""
    answer = HTTPResponse(client)
    answer.begin()
    told: dict[str, object] = json.loads(answer.read())
    assert (answer.status, answer.headers["content-type"]) == (told["status"], "application/problem+json")
    return told


def problem(answer: bytes) -> dict[str, object]:
    """The one problem object that the service said, checked against the head."""
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"content-type: application/problem+json" in head.lower()
    assert b"x-content-type-options: nosniff" in head.lower()
    told: dict[str, object] = json.loads(body)
    assert head.startswith(f"HTTP/1.1 {told['status']} ".encode())
    return told


@pytest.mark.parametrize(
    "part", [b"", b"GET /healthz HT", GET, b"\r\n\r\n"], ids=["nothing", "line", "headers", "empty lines"]
)
def test_a_head_that_does_not_come_is_not_waited_for(client: socket.socket, part: bytes) -> None:
    started = time.monotonic()
    client.sendall(part)
    assert said(client) == b""
    assert HEADER_SECONDS - 0.1 < time.monotonic() - started < HEADER_SECONDS + LATE_SECONDS


def test_a_head_that_trickles_is_not_waited_for(client: socket.socket) -> None:
    client.sendall(b"GET /")
    assert broken_off(client, b"x") < HEADER_SECONDS + LATE_SECONDS


def test_the_next_head_on_a_connection_is_watched_as_well(client: socket.socket) -> None:
    assert alive(client)
    client.sendall(b"GET /heal")
    started = time.monotonic()
    assert said(client) == b""
    assert time.monotonic() - started < HEADER_SECONDS + LATE_SECONDS


def test_a_connection_in_use_is_not_closed(client: socket.socket) -> None:
    ends = time.monotonic() + 2.5 * HEADER_SECONDS
    while time.monotonic() < ends:
        assert alive(client)
        time.sleep(0.2)


def test_a_head_without_end_is_refused(client: socket.socket) -> None:
    client.sendall(GET)
    assert broken_off(client, b"X-Filler: " + b"x" * 50_000 + b"\r\n") < 1  # no time was needed


def test_a_head_that_is_too_long_is_told(client: socket.socket) -> None:
    client.sendall(GET)
    time.sleep(0.2)
    client.sendall(b"X-Filler: " + b"x" * 65_600)  # all of it is read, or a reset could lose the answer
    told = problem(said(client))
    assert told["status"] == 431
    assert "65536" in str(told["detail"])


CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("begin", "part"),
    [
        (b"2\r\n{}\r\n0\r\n", b"a:\r\n" * 250),
        (b"2\r\n{}\r\n0\r\n", b"x" * 1000),
        (b"2\r\n{}\r\n0\r\nX-Filler: ", b"x" * 1000),
        (b"2;", b"x" * 1000),
        (b"", b"1;" + b"x" * 1000 + b"\r\n \r\n"),
    ],
    ids=["trailers", "a trailer's name", "a trailer", "a chunk's extension", "an extension for each byte"],
)
def test_what_a_chunked_body_brings_besides_is_bounded(
    client: socket.socket, begin: bytes, part: bytes
) -> None:
    client.sendall(CHUNKED + begin)
    with suppress(OSError):  # it is refused before all is sent
        for _ in range(80):
            client.sendall(part)
            time.sleep(0.001)
    told = problem(said(client))
    assert told["status"] == 431
    assert "trailers are over 65536 bytes" in str(told["detail"])


def test_a_short_trailer_does_no_harm(client: socket.socket) -> None:
    client.sendall(CHUNKED + b'0d\r\n{"seed": "no"\r\n1;a=b\r\n}\r\n0\r\nX-Checksum: 1\r\n\r\n')
    assert refusal(client)["status"] == 422
    assert alive(client)


@pytest.mark.parametrize("length", [b"abc", b"-5", b"9" * 30, b"5\r\nContent-Length: 6"])
def test_a_content_length_that_is_none_is_400(client: socket.socket, length: bytes) -> None:
    client.sendall(POST + b"Content-Length: " + length + b"\r\n\r\n{}")
    assert problem(said(client))["status"] == 400


@pytest.mark.parametrize(
    "text", [b"\x16\x03\x01\x02\x00\x01\x00", b"GET\r\n\r\n", b"GET /\xff HTTP/1.1\r\n\r\n", b"G" * 100]
)
def test_what_is_no_http_is_400(client: socket.socket, text: bytes) -> None:
    client.sendall(text)
    assert problem(said(client))["status"] == 400


@pytest.mark.parametrize("head", [POST, UPLOAD])
def test_half_a_body_is_told(client: socket.socket, head: bytes) -> None:
    started = time.monotonic()
    client.sendall(head + b"Content-Length: 1000\r\n\r\n" + HALF)
    told = problem(said(client))
    assert told["status"] == 408
    assert f"stopped after {len(HALF)} bytes" in str(told["detail"])
    assert time.monotonic() - started < BODY_SECONDS + LATE_SECONDS


@pytest.mark.parametrize("head", [POST, UPLOAD])
def test_half_a_body_of_a_client_that_leaves_is_no_failure_of_ours(api: Processes, head: bytes) -> None:
    before = refusals(api)
    with socket.create_connection(("127.0.0.1", api.port)) as client:
        client.sendall(head + b"Content-Length: 1000\r\n\r\n" + HALF)
    until(lambda: refusals(api).get("bad_request", 0) == before.get("bad_request", 0) + 1, 10)
    assert refusals(api).get("internal", 0) == before.get("internal", 0)


def test_too_large_a_body_is_told_before_it_is_sent(client: socket.socket) -> None:
    client.sendall(POST + b"Content-Length: 10000000\r\n\r\n")
    assert refusal(client)["status"] == 413


def test_too_large_a_body_in_chunks_is_told_while_it_is_sent(client: socket.socket) -> None:
    client.sendall(POST + b"Transfer-Encoding: chunked\r\n\r\n")
    for _ in range(
        20
    ):  # more than is taken: the rest is let through and dropped, or the refusal would be lost
        client.sendall(b"4000\r\n" + b" " * 0x4000 + b"\r\n")
    assert refusal(client)["status"] == 413
    chunk = b"4000\r\n" + b" " * 0x4000 + b"\r\n"
    assert broken_off(client, chunk) < HEADER_SECONDS + LATE_SECONDS  # not for ever


def test_chunks_that_are_none_are_400(client: socket.socket) -> None:
    client.sendall(POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n")
    assert problem(said(client))["status"] == 400


def refusals(api: Processes) -> dict[str, float]:
    """By reason, as /metrics tells."""
    with api.http() as http:
        lines = http.get("/metrics").text.splitlines()
    found = [line for line in lines if line.startswith("vitgan_refusals_total{")]
    return {line.split('"')[1]: float(line.split()[-1]) for line in found}


def test_who_takes_nothing_is_left_and_the_worker_is_free(
    tmp_path: Path, redis: Redis, valkey_url: str
) -> None:
    with service_of(1, tmp_path, redis, valkey_url, **ENV) as processes, socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", processes.port))
        # 15 MB, of which the sockets hold a third: of this model many bytes come from few pixels.
        body = json.dumps({"seed": 1, "resolution": 8000, "model": "cifar10-32"}).encode()
        client.sendall(POST + f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
        assert client.recv(12) == b"HTTP/1.1 200"
        # Some seconds until the sockets are full, which is far from all; then its patience.
        until(lambda: not connected(client) and not redis.keys("vitgan:credits:*"), 100)
        started = time.monotonic()
        assert processes.draw("/generate", seed=2, resolution=64)
        assert time.monotonic() - started < 20  # a worker that still held the connection would wait for 30


def connected(client: socket.socket) -> bool:
    """Whether the other side has not reset the connection, as the kernel knows (TCP_INFO's first byte)."""
    return client.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1) == b"\x01"
