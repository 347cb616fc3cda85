"""Below a path: whether the proxy takes it off or leaves it, what we write names it."""

from __future__ import annotations

import json
import re

import httpx
import pytest
from pydantic import ValidationError

from app.main import create_app
from app.routes.status import STATIC
from app.settings import OWN_PATHS, AppSettings
from tests.app.conftest import Api, Start
from tests.app.test_generate import refused

ROOT = "/img"
LEAVES, TAKES_OFF = ROOT, ""  # what a proxy does with it


@pytest.fixture
async def api(start: Start) -> Api:
    return await start(root_path=ROOT)


async def get(api: Api, path: str) -> httpx.Response:
    answer = await api.http.get(path)
    assert answer.status_code < 400, answer.text
    return answer


@pytest.mark.parametrize("before", [LEAVES, TAKES_OFF])
async def test_every_link_names_it(api: Api, before: str) -> None:
    answer = await get(api, f"{before}/images/default/1.png?resolution=8")
    assert answer.headers["location"].startswith(f"{ROOT}/images/personas@")
    assert answer.headers["location"].endswith("/1.png?resolution=8")

    base = await get(api, f"{before}/iiif/3/default:1")
    assert base.headers["location"] == f"http://test{ROOT}/iiif/3/default:1/info.json"
    moved = await get(api, f"{before}/iiif/3/default:1/info.json")
    info = await get(api, moved.headers["location"])
    assert info.json()["id"] == moved.headers["location"].removesuffix("/info.json")
    assert info.json()["id"].startswith(f"http://test{ROOT}/iiif/3/personas%40")
    tile = await get(api, f"{info.json()['id']}/full/64,/0/default.png")
    assert f"<http://test{ROOT}/iiif/3/personas%40" in tile.headers["link"]

    queued = await api.http.post(
        f"{before}/generate", json={"seed": 1, "resolution": 8}, headers={"Prefer": "respond-async"}
    )
    assert queued.headers["location"] == f"{ROOT}/jobs/{queued.json()['id']}"
    assert (await get(api, queued.headers["location"])).json()["id"] == queued.json()["id"]


@pytest.mark.parametrize("before", [LEAVES, TAKES_OFF])
async def test_the_documents_and_files_are_there(api: Api, before: str) -> None:
    schema = (await get(api, f"{before}/openapi.json")).json()
    assert schema["servers"] == [{"url": ROOT}]
    assert (await get(api, f"{before}/docs")).text == (STATIC / "docs.html").read_text()
    assert (
        (await get(api, f"{before}/static/swagger/swagger-ui.css"))
        .headers["content-type"]
        .startswith("text/css")
    )
    assert (await get(api, f"{before}/redoc")).headers["location"] == f"{ROOT}/docs"
    assert (await get(api, f"{before}/static/studio.js")).content == (STATIC / "studio.js").read_bytes()
    assert (await get(api, f"{before}/")).text == (STATIC / "index.html").read_text()
    refused(await api.http.get(f"{before}/nothing"), 404, f"{ROOT}/nothing", f"{ROOT}/docs")


async def test_without_a_slash_at_its_end_it_leads_to_the_page(api: Api) -> None:
    answer = await api.http.get(ROOT)
    assert (answer.status_code, answer.headers["location"]) == (307, f"http://test{ROOT}/")


async def test_what_goes_by_the_path_goes_by_what_follows_it(api: Api) -> None:
    """CORS of /iiif/, an upload's size, keys of repeated requests."""
    for before in (LEAVES, TAKES_OFF):
        info = await api.http.get(f"{before}/iiif/3/default:1/info.json")
        assert info.headers["access-control-allow-origin"] == "*"
        upload = await api.http.post(f"{before}/datasets", content=b"x" * 300_000)
        refused(upload, 415, "multipart/form-data")
    keyed = {"Prefer": "respond-async", "Idempotency-Key": "one"}
    body = {"seed": 1, "resolution": 8}
    jobs = [
        (await api.http.post(f"{before}/generate", json=body, headers=keyed)).json()["id"]
        for before in (LEAVES, TAKES_OFF)
    ]
    assert jobs[0] == jobs[1]


def test_the_page_names_nothing_from_the_root_on() -> None:
    for path in STATIC.iterdir():
        assert not re.search(r"""(href|src|get|import|fetch)\W{1,3}["'`]/""", path.read_text()), path.name


def test_a_root_path_is_checked() -> None:
    assert AppSettings(root_path="/img/pictures/").root_path == "/img/pictures"
    assert AppSettings(root_path="/").root_path == ""
    for wrong in ("img", "/a b", "/..", "https://example.org/img", "/img?x", "/images", "/docs/img"):
        with pytest.raises(ValidationError, match=re.escape(json.dumps(wrong).strip('"'))):
            AppSettings(root_path=wrong)


def test_the_paths_that_it_may_not_begin_with_are_those_of_the_routes() -> None:
    app = create_app(AppSettings())
    assert {path.split("/")[1] for path in app.openapi()["paths"]} <= set(OWN_PATHS)
