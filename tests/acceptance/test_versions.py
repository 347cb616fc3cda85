"""A worker of another release beside this API."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from redis import Redis

from contract.versions import BYTES_VERSION, PROTOCOL
from tests.acceptance.processes import service_of, until

pytestmark = pytest.mark.acceptance

OTHER = f"{PROTOCOL}.{BYTES_VERSION + 1}"
WORKER = f"""
from contract import versions
versions.BYTES_VERSION, versions.TOGETHER = {BYTES_VERSION + 1}, "{OTHER}"
from cli.main import app
app(["worker"])
"""


def test_a_worker_of_another_version_is_seen_and_draws_nothing(
    tmp_path: Path, redis: Redis, valkey_url: str
) -> None:
    with service_of(0, tmp_path, redis, valkey_url) as service, service.http() as http:
        stranger = subprocess.Popen([sys.executable, "-c", WORKER], env=service.env)
        service.running.append(stranger)
        until(lambda: http.get("/readyz").json()["other_versions"] == [f"generate:{OTHER}"], 60)
        answer = http.post("/generate", json={"seed": 1, "resolution": 32})
        assert answer.status_code == 503
        assert OTHER in answer.json()["detail"]
        job = http.post("/generate", json={"seed": 1}, headers={"Prefer": "respond-async"}).json()
        ours = service.start("worker")
        until(lambda: service.ready(1), 60)
        for seed in range(8):
            assert http.post("/generate", json={"seed": seed, "resolution": 32}).status_code == 200
        until(lambda: http.get(f"/jobs/{job['id']}").json()["status"] == "succeeded", 60)
        assert http.get(f"/jobs/{job['id']}").json()["attempts"] == 1
        ours.terminate()
        ours.wait(30)
        until(lambda: not service.ready(1), 30)
        assert http.post("/generate", json={"seed": 1, "resolution": 32}).status_code == 503
        assert stranger.poll() is None
