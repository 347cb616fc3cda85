"""Texts are compressed and revalidated; pictures are sent as they are."""

from __future__ import annotations

import pytest

from tests.app.conftest import Api
from tests.app.test_images_route import digest_url

GZIP = {"Accept-Encoding": "gzip"}


@pytest.mark.parametrize(
    "path", ["/", "/static/studio.js", "/static/swagger/swagger-ui.css", "/openapi.json", "/metrics"]
)
async def test_a_long_text_is_compressed_for_who_accepts_it(api: Api, path: str) -> None:
    plain = await api.http.get(path, headers={"Accept-Encoding": "identity"})
    packed = await api.http.get(path, headers=GZIP)
    assert packed.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    for answer in (plain, packed):
        assert "Accept-Encoding" in answer.headers["vary"]
        assert answer.headers["cache-control"] == "no-cache"
    if path != "/metrics":  # which counts what was asked
        assert packed.content == plain.content


@pytest.mark.parametrize("path", ["/", "/docs", "/static/icon.svg", "/static/swagger/swagger-ui-bundle.js"])
async def test_the_page_is_not_sent_twice(api: Api, path: str) -> None:
    first = await api.http.get(path)
    again = await api.http.get(path, headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]
    if path == "/":
        assert again.headers["content-security-policy"] == first.headers["content-security-policy"]


async def test_pictures_are_sent_as_they_are(api: Api) -> None:
    for url in (digest_url(api), "/models", "/healthz"):  # and short texts
        assert "content-encoding" not in (await api.http.get(url, headers=GZIP)).headers
    assert "immutable" in (await api.http.get(digest_url(api))).headers["cache-control"]
    assert "accept-encoding" not in (await api.http.get(digest_url(api))).headers.get("vary", "").lower()
