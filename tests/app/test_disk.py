"""A disk that takes nothing more: 507, and nothing that looks whole is left."""

from __future__ import annotations

import os
import random
import tempfile
from pathlib import Path

import pytest

from app.key_file import editing, new_key
from contract.disk import DiskError
from contract.messages import DrawRequest
from tests.app.conftest import Api, Start
from tests.app.test_datasets import PICTURES, upload
from tests.app.test_generate import refused
from tests.conftest import png, zip_of
from tests.full_disk import SmallDisk, small_disk

__all__ = ["small_disk"]


@pytest.fixture
async def api(start: Start, small_disk: SmallDisk) -> Api:
    return await start(data_dir=small_disk.path / "var")


async def test_an_upload_to_a_full_disk_leaves_nothing(api: Api, small_disk: SmallDisk) -> None:
    small_disk.fill()
    answer = await upload(api, zip_of(PICTURES))
    refused(answer, 507, "the disk is full", str(small_disk.path / "var" / "datasets"))
    assert answer.json()["title"] == "Insufficient storage"  # type: ignore[attr-defined]
    small_disk.free()
    assert (await api.http.get("/datasets")).json()["items"] == []
    assert [path.name for path in (small_disk.path / "var" / "datasets").glob("*")] == []
    assert (await upload(api, zip_of(PICTURES))).status_code == 201  # type: ignore[attr-defined]


async def test_a_disk_that_fills_while_an_upload_is_kept(api: Api, small_disk: SmallDisk) -> None:
    """Twice as large as what is left."""
    noise = random.Random(0).randbytes
    files = {f"{i}.png": png() + noise(1_000_000) for i in range(40)}
    refused(await upload(api, zip_of(files)), 507, "the disk is full")
    assert list((small_disk.path / "var" / "datasets").iterdir()) == []


async def test_an_upload_that_does_not_fit_while_it_comes(
    api: Api, small_disk: SmallDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = small_disk.path / "var" / "datasets"
    monkeypatch.setattr(tempfile, "tempdir", str(folder))  # as app/server.py has it
    data = zip_of({"a.png": png() + os.urandom(30_000_000)})
    refused(await upload(api, data), 507, "the disk is full", str(folder))
    assert list(folder.iterdir()) == []


async def test_a_read_only_disk_is_told(api: Api, small_disk: SmallDisk) -> None:
    small_disk.make_read_only()
    refused(await upload(api, zip_of(PICTURES)), 507, "the disk is read-only")
    refused(await api.http.post("/models/personas/promote"), 507, "the disk is read-only")
    ready = (await api.http.get("/readyz")).json()
    assert (ready["status"], ready["disk"]["writable"]) == ("ready", False)  # images can be drawn
    assert "read-only" in ready["disk"]["problem"]
    small_disk.make_writable()
    assert (await api.http.get("/readyz")).json()["disk"] == {"writable": True, "problem": None}


async def test_a_full_disk_is_a_metric_and_takes_no_jobs(api: Api, small_disk: SmallDisk) -> None:
    assert "vitgan_data_writable 1.0" in (await api.http.get("/metrics")).text
    small_disk.fill()
    assert "vitgan_data_writable 0.0" in (await api.http.get("/metrics")).text
    answer = await api.http.post("/generate", json={"seed": 1}, headers={"Prefer": "respond-async"})
    refused(answer, 507, "the disk is full", str(small_disk.path))
    assert 'vitgan_refusals_total{reason="disk_full"}' in (await api.http.get("/metrics")).text
    assert (await api.http.post("/generate", json={"seed": 1})).status_code == 200
    assert (await api.http.get("/jobs")).json()["items"] == []


async def test_a_promotion_that_cannot_be_kept_changes_nothing(api: Api, small_disk: SmallDisk) -> None:
    assert (await api.http.post("/models/personas/promote")).status_code == 200
    promoted = small_disk.path / "var" / "promoted"
    small_disk.fill()
    refused(await api.http.post("/models/personas/promote"), 507, "the disk is full")
    assert promoted.read_text() == "personas\n"
    assert [path.name for path in promoted.parent.iterdir()] == ["promoted"]


async def test_folders_are_named_to_those_who_may_do_all(
    start: Start, small_disk: SmallDisk, tmp_path: Path
) -> None:
    made = {scope: new_key(scope, [scope]) for scope in ("train", "admin")}
    with editing(tmp_path / "keys.json") as kept:
        kept += [one for _, one in made.values()]
    api = await start(data_dir=small_disk.path / "var", api_keys_file=tmp_path / "keys.json")
    small_disk.fill()
    for scope, (key, _) in made.items():
        answer = await api.http.post(
            "/datasets", data={"name": "d"}, files={"file": ("x.zip", zip_of(PICTURES))},
            headers={"X-API-Key": key},
        )  # fmt: skip
        refused(answer, 507, "VITGAN_DATA_DIR/datasets")
        assert (str(small_disk.path) in answer.text) is (scope == "admin")
    told = (await api.http.get("/readyz")).json()["disk"]["problem"]
    assert "VITGAN_DATA_DIR" in told
    assert str(small_disk.path) not in told


async def test_the_result_of_a_job_that_found_no_room_is_507(api: Api, small_disk: SmallDisk) -> None:
    made = await api.http.post("/generate", json={"seed": 1}, headers={"Prefer": "respond-async"})
    job_id = made.json()["id"]
    claim = api.services.jobs.claim(job_id, DrawRequest)
    assert claim is not None
    error = DiskError(small_disk.path / "var" / "results", "the disk is full")
    api.services.jobs.fail(claim, error.told(small_disk.path / "var"))
    refused(await api.http.get(f"/jobs/{job_id}/result"), 507, "disk is full", str(error.folder))
