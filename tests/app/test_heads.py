"""HEAD of everything that has a GET."""

from __future__ import annotations

import pytest
from starlette.routing import Match

from app.heads import Router
from contract.messages import TrainRequest
from tests.app.conftest import Api
from tests.app.test_datasets import upload
from tests.app.test_images_route import digest_url
from tests.conftest import png, zip_of

ITS_OWN = {"x-request-id", "server-timing"}
PATHS = [
    "/", "/docs", "/redoc", "/static/swagger/swagger-ui.css", "/openapi.json", "/healthz", "/readyz",
    "/metrics", "/models",
    "/models/default", "/models/nobody", "/datasets", "/datasets/cats", "/jobs", "/jobs?limit=0",
    "/jobs/nobody", "/webhooks/dead", "/static/studio.js", "/images/default/7.png",
    "/iiif/3/default:7", "/iiif/3/default:7/info.json",
    "/iiif/presentation/3/default:7/manifest.json",
]  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
async def test_head_has_the_headers_of_get_and_no_body(api: Api, path: str) -> None:
    await upload(api, zip_of({"a.png": png()}))
    plain = {"Accept-Encoding": "identity"}
    got, head = await api.http.get(path, headers=plain), await api.http.head(path, headers=plain)
    assert (head.status_code, head.content) == (got.status_code, b"")
    assert set(head.headers) == set(got.headers)
    length = "content-length" if path not in ("/metrics", "/readyz") else ""
    assert int(head.headers["content-length"]) > 0 or got.status_code in (303, 307)
    for name in set(got.headers) - ITS_OWN - ({"content-length"} - {length}):
        assert head.headers[name] == got.headers[name]


async def test_the_head_of_a_picture_names_no_length_that_it_has_not(api: Api) -> None:
    digest = digest_url(api, "").removeprefix("/images/").rstrip("/")
    for url in (digest_url(api, "7.png"), f"/iiif/3/{digest}:7:65536/full/64,64/0/default.png"):
        got, head = await api.http.get(url), await api.http.head(url)
        assert "content-length" not in head.headers
        assert set(got.headers) - set(head.headers) == {"content-length", "server-timing"}
    assert len(api.painter.batches) == 2  # by GET


async def test_the_head_of_a_jobs_events_ends(api: Api) -> None:
    job = api.services.jobs.create(TrainRequest(dataset="a", preset="vitgan-ti-32", name="b", kimg=1, seed=0))
    api.services.jobs.request_cancel(job)
    got, head = await api.http.get(f"/jobs/{job}/events"), await api.http.head(f"/jobs/{job}/events")
    assert set(head.headers) == set(got.headers)
    assert head.headers["content-type"].startswith("text/event-stream")


def test_every_get_has_its_head() -> None:
    router = Router()

    @router.get("/here")
    def here() -> None: ...

    scope = {"type": "http", "path": "/here", "method": "HEAD", "root_path": ""}
    assert any(route.matches(scope)[0] is Match.FULL for route in router.routes)
