"""What is said when a process is stopped in the middle of its work."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.acceptance.processes import until
from tests.conftest import free_port

pytestmark = pytest.mark.acceptance


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_api_that_stops_answers_what_waits_and_says_little(tmp_path: Path, number: int) -> None:
    port = free_port()
    env = os.environ | {"REDIS_URL": "redis://127.0.0.1:1/0", "VITGAN_DATA_DIR": str(tmp_path / "var")}
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "cli", "api", "--port", str(port)], env=env, stderr=log, stdout=log
        )
    try:
        until(lambda: is_alive(port), 60)
        with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
            head = b"POST /generate HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            client.sendall(head + b"Content-Length: 100\r\n\r\n{")
            until(lambda: "in_progress 2" in httpx.get(f"http://127.0.0.1:{port}/metrics").text, 60)
            process.send_signal(number)
            answer = b""
            while part := client.recv(65536):
                answer += part
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"the service stops: try again" in answer
        assert process.wait(30) in (0, -number)
    finally:
        process.kill()
    assert "Traceback" not in (tmp_path / "log").read_text()


def is_alive(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/healthz").status_code == 200
    except httpx.TransportError:
        return False
