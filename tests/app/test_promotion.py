"""POST /models/{name}/promote: which model is drawn with when none is named."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.app.conftest import Api, Start
from tests.app.test_generate import refused


@pytest.fixture
def cats(models_dir: Path, tmp_path: Path) -> Path:
    """A second model, which a training has published."""
    folder = tmp_path / "var" / "models" / "cats"
    shutil.copytree(models_dir / "personas", folder)
    (folder / "model.safetensors").write_bytes(b"of cats")
    return folder


async def drawn_with(api: Api) -> str:
    """The model of an image that names none."""
    answer = await api.http.post("/generate", json={"seed": 1})
    return str(answer.headers["x-model"].partition("@")[0])


async def test_all_processes_draw_with_what_was_promoted_and_so_do_later_ones(
    start: Start, cats: Path
) -> None:
    api, other = await start(), await start()
    assert [await drawn_with(one) for one in (api, other)] == ["personas", "personas"]
    told = await api.http.post("/models/cats/promote")
    assert (told.status_code, told.json()["name"], told.json()["default"]) == (200, "cats", True)
    later = await start(default_model="personas")
    for one in (api, other, later):
        assert await drawn_with(one) == "cats"
        listed = (await one.http.get("/models")).json()["items"]
        assert {model["name"]: model["default"] for model in listed} == {"cats": True, "personas": False}
        assert (await one.http.get("/models/default")).json() == told.json()


async def test_promotion_never_serves_the_old_picture(api: Api, cats: Path) -> None:
    before = [(await api.http.get(url)).headers["location"] for url in URLS]
    etag = (await api.http.post("/generate", json={"seed": 1})).headers["etag"]
    await api.http.post("/models/cats/promote")
    for url, old in zip(URLS, before, strict=True):
        answer = await api.http.get(url)
        assert (answer.status_code, answer.headers["cache-control"]) == (307, "no-cache")
        assert "cats@" in unquote(answer.headers["location"])
        kept = await api.http.get(old)  # of the digest that it names, as long as that is there
        assert kept.status_code == 200
        assert ("immutable" in kept.headers["cache-control"]) == (not old.endswith("info.json"))
    assert (await api.http.post("/generate", json={"seed": 1})).headers["etag"] != etag
    assert (await api.http.get(before[0])).headers["x-model"].startswith("personas@")


URLS = ("/images/default/1.png", "/iiif/3/default:1/info.json", "/iiif/3/default:1/full/64,/0/default.png")


async def test_the_same_again_and_back_again(api: Api, cats: Path) -> None:
    for name in ("cats", "cats", "default", "personas"):
        assert (await api.http.post(f"/models/{name}/promote")).status_code == 200
    assert await drawn_with(api) == "personas"


@pytest.mark.parametrize("name", ["nobody", "..%2fpersonas", "PERSONAS", "personas@aaaaaaaaaaaa"])
async def test_what_is_no_model_is_not_promoted(api: Api, name: str) -> None:
    refused(await api.http.post(f"/models/{name}/promote"), 404)
    assert await drawn_with(api) == "personas"


async def test_a_promoted_model_that_is_gone_is_told(api: Api, cats: Path) -> None:
    await api.http.post("/models/cats/promote")
    shutil.rmtree(cats)
    refused(await api.http.post("/generate", json={}), 404, "'cats', which `default` names", "GET /models")
    assert (await api.http.post("/models/personas/promote")).status_code == 200
    assert await drawn_with(api) == "personas"


async def test_who_has_promoted_what_is_logged(
    api: Api, cats: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    digest = (await api.http.post("/models/cats/promote")).json()["digest"]
    assert f"cats@{digest[:12]} is promoted by anonymous" in caplog.text
