"""A full disk below everything: what cannot be kept is refused and names the folder, and nothing is lost."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from contract.jobs import JobStore
from tests.acceptance.processes import Processes, service_of, until
from tests.conftest import png, zip_of
from tests.faults.conftest import prepared
from tests.faults.stack import Valkey
from tests.full_disk import SmallDisk, small_disk

__all__ = ["small_disk"]

pytestmark = [pytest.mark.faults, pytest.mark.timeout(240)]

ASYNC = {"Prefer": "respond-async"}
IMAGE = {"seed": 1, "resolution": 64}
TRAINING = {"dataset": "colours", "preset": "vitgan-ti-32", "name": "made", "kimg": 0.064}


@pytest.fixture
def stack(small_disk: SmallDisk) -> Iterator[Processes]:
    """An API and both workers; Valkey's file lies on the small disk too, as ``vitgan up`` has it."""
    valkey = Valkey(small_disk.path / "valkey")
    try:
        folder = prepared(small_disk.path)
        with service_of(1, folder, valkey.redis, valkey.url, VITGAN_THREADS="1") as processes:
            processes.start("trainer")
            processes.valkey = valkey  # type: ignore[attr-defined]
            yield processes
    finally:
        valkey.stop()


def upload(http: httpx.Client, name: str) -> httpx.Response:
    data = zip_of({f"{i}.png": png((i, 0, 0)) for i in range(40)})
    return http.post("/datasets", data={"name": name}, files={"file": ("x.zip", data)})


def refused(answer: httpx.Response, *words: str) -> None:
    assert answer.status_code == 507, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    for word in words:
        assert word in answer.json()["detail"], answer.text


def test_a_full_disk_is_told_and_what_was_taken_is_done_when_there_is_room(
    stack: Processes, small_disk: SmallDisk
) -> None:
    datasets = str(small_disk.path / "datasets")
    with stack.http() as http:
        done = http.post("/generate", json=IMAGE, headers=ASYNC).json()["id"]
        until(lambda: http.get(f"/jobs/{done}").json()["status"] == "succeeded", 60)
        expected = http.post("/generate", json=IMAGE).content
        small_disk.fill()
        refused(upload(http, "cats"), "the disk is full", datasets)
        refused(http.post("/models/personas/promote"), "the disk is full", str(small_disk.path))
        refused(http.post("/generate", json=IMAGE, headers=ASYNC), "disk", str(small_disk.path))
        refused(http.post("/train", json=TRAINING), "disk", str(small_disk.path))
        ready = http.get("/readyz").json()
        assert not ready["disk"]["writable"]
        assert "the disk is full" in ready["disk"]["problem"]
        assert "vitgan_data_writable 0.0" in http.get("/metrics").text
        # Valkey finds out when it writes next, and then takes nothing more.
        until(lambda: http.get("/readyz").status_code == 503, 20)
        assert "cannot write" in http.get("/readyz").json()["missing"][0]
        refused(http.post("/generate", json=IMAGE), "Redis cannot write", str(small_disk.path / "valkey"))
        assert http.get(f"/jobs/{done}/result").content == expected
        small_disk.free()
        until(lambda: http.get("/readyz").status_code == 200, 30)
        assert http.post("/generate", json=IMAGE).content == expected
        assert upload(http, "cats").status_code == 201
        assert http.post("/models/personas/promote").status_code == 200
        asked = http.post("/train", json=TRAINING)
        assert asked.status_code == 202, asked.text
        assert http.get("/readyz").json()["disk"] == {"writable": True, "problem": None}
    assert all(process.poll() is None for process in stack.running)
    store = JobStore(stack.valkey.redis)  # type: ignore[attr-defined]
    until(lambda: store.get(asked.json()["id"]).status == "succeeded", 90)
    assert list(Path(datasets).glob(".*")) == []
