"""A shared folder that does not answer holds up nobody, and one bad model is one bad model."""

from __future__ import annotations

import asyncio
import json
import os
import threading
import time
from pathlib import Path

import pytest

from app.reader import Reader, StalledError
from contract.models import ModelLibrary, PublishedModel
from tests.app.conftest import Api
from tests.app.test_generate import refused
from tests.contract.test_models import publish


def test_what_was_told_before_is_told_while_it_stalls() -> None:
    reader, goes_on = Reader(patience=0.05), threading.Event()
    assert reader.ask("a", lambda: 1) == 1
    assert reader.ask("a", goes_on.wait) == 1  # type: ignore[comparison-overlap]
    assert reader.is_stalled
    with pytest.raises(StalledError):
        reader.ask("b", lambda: 2)
    goes_on.set()
    while reader.is_stalled:
        time.sleep(0.01)
    assert reader.ask("b", lambda: 2) == 2


def test_what_is_raised_is_passed_on_and_forgets() -> None:
    reader, stalls = Reader(patience=0.05), threading.Event()
    reader.ask("a", lambda: 1)
    with pytest.raises(KeyError):
        reader.ask("a", lambda: {}["a"])
    with pytest.raises(StalledError):
        reader.ask("a", stalls.wait)
    stalls.set()


async def test_a_pipe_in_a_models_place_is_one_skipped_model(api: Api, models_dir: Path) -> None:
    publish(models_dir / "pipe")
    (models_dir / "pipe" / "model.safetensors").unlink()
    os.mkfifo(models_dir / "pipe" / "model.safetensors")
    told = [{"name": "pipe", "reason": "model.safetensors: it is no regular file"}]
    models = (await api.http.get("/models")).json()
    assert ([model["name"] for model in models["items"]], models["skipped"]) == (["personas"], told)
    ready = await api.http.get("/readyz")
    assert (ready.status_code, ready.json()["skipped_models"]) == (200, told)
    refused(await api.http.post("/generate", json={"model": "pipe"}), 404, "pipe")
    assert (await api.http.post("/generate", json={})).status_code == 200
    assert (await api.http.get("/metrics")).status_code == 200


async def test_a_folder_that_stalls_holds_up_no_other_request(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mount cannot be made to stall here: the library's look at it does."""
    assert (await api.http.post("/generate", json={})).status_code == 200
    goes_on, look = threading.Event(), ModelLibrary.get

    def stall(self: ModelLibrary, name: str) -> PublishedModel:
        goes_on.wait(60)
        return look(self, name)

    monkeypatch.setattr(ModelLibrary, "get", stall)
    monkeypatch.setattr(api.services.reader, "patience", 0.1)
    try:
        for _ in range(3):
            answers = await asyncio.gather(*(api.http.post("/generate", json={"seed": n}) for n in range(20)))
            assert {answer.status_code for answer in answers} == {200}  # a model that was read before
        refused(await api.http.post("/generate", json={"model": "other"}), 503, "does not answer")
        assert (await api.http.get("/healthz")).status_code == 200
        assert (await api.http.get("/models")).status_code == 503
    finally:
        goes_on.set()


async def test_a_promotion_that_cannot_be_read_is_told(api: Api) -> None:
    file = api.services.settings.promoted_file
    file.mkdir(parents=True)
    refused(await api.http.post("/generate", json={}), 503, "cannot be read")
    assert (await api.http.post("/generate", json={"model": "personas"})).status_code == 200
    file.rmdir()
    assert (await api.http.post("/generate", json={})).status_code == 200


async def test_a_dataset_that_cannot_be_read_is_one_skipped_dataset(api: Api) -> None:
    whole = {"name": "good", "pictures": 40, "bytes": 9, "created_at": "2026-01-01T00:00:00Z"}
    for name, info in (("bad", "{"), ("good", json.dumps(whole)), ("less", '{"name": "less"}'), ("no", "[]")):
        folder = api.services.settings.datasets_dir / name
        folder.mkdir(parents=True)
        (folder / "info.json").write_text(info)
    listed = await api.http.get("/datasets")
    assert (listed.status_code, [one["name"] for one in listed.json()["items"]]) == (200, ["good"])
    for name in ("bad", "less", "no"):
        refused(await api.http.get(f"/datasets/{name}"), 404, "cannot be read")
