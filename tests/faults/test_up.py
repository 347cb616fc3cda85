"""``vitgan up`` under faults: whatever of it is killed is started again, and the service goes on."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import httpx
import pytest

from tests.acceptance.conftest import Service
from tests.acceptance.processes import until
from tests.faults.stack import children, command_of

pytestmark = [pytest.mark.faults, pytest.mark.timeout(240)]


def parts(service: Service) -> dict[str, int]:
    """Process ids by command: worker, trainer, api, and of both Valkeys by folder: valkey, valkey-bytes."""
    commands = {pid: command_of(pid) for pid in children(service.process.pid)}
    return {
        Path(f"/proc/{pid}/cwd").readlink().name if "valkey-server" in words[0] else words[3]: pid
        for pid, words in commands.items()
        if len(words) > 3 or "valkey-server" in "".join(words[:1])
    }


def draws(service: Service) -> bool:
    try:
        with service.http() as http:
            return http.post("/generate", json={"seed": 1, "resolution": 64}).status_code == 200
    except httpx.TransportError:
        return False


def test_whatever_is_killed_is_started_again(tmp_path: Path) -> None:
    """Each process in turn. Jobs and images are there afterwards."""
    service = Service.start(tmp_path)
    with service.http() as http:
        asked = http.post(
            "/generate", json={"seed": 3, "resolution": 64}, headers={"Prefer": "respond-async"}
        )
        job = asked.headers["location"]
        until(lambda: http.get(job).json()["status"] == "succeeded", 20)
    before = parts(service)
    for name in ("worker", "trainer", "api", "valkey"):
        os.kill(before[name], signal.SIGKILL)
    until(
        lambda: (
            set(parts(service)) == set(before)
            and all(parts(service)[name] != before[name] for name in ("worker", "trainer", "api", "valkey"))
        ),
        30,
    )
    until(lambda: draws(service), 60)
    with service.http() as http:
        assert http.get(job).json()["status"] == "succeeded"
        assert http.get(f"{job}/result").status_code == 200
        until(lambda: http.get("/readyz").json()["training_workers"] == 1, 60)
    assert service.stop() < 10
    assert service.process.returncode == 0
    for name in ("image-worker", "training-worker", "api", "valkey"):
        assert f"vitgan up: {name} is started again" in service.said
    assert "image-worker ended (by signal 9): it is started again in 0.5 s" in service.said
