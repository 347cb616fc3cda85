"""The service below /img, behind real proxies: the page in a real browser, and every link."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.sync_api import Browser, expect

from tests.acceptance import proxies
from tests.acceptance.conftest import Service

pytestmark = pytest.mark.acceptance


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    service = Service.start(tmp_path_factory.mktemp("service"), VITGAN_ROOT_PATH="/img")
    yield service
    service.stop()


@pytest.fixture(params=[proxies.our_own, proxies.nginx_takes_off, proxies.nginx_leaves, proxies.caddy])
def site(request: pytest.FixtureRequest, service: Service, tmp_path: Path) -> Iterator[str]:
    """Where the proxy offers the service, without a slash at the end."""
    proxy: proxies.Proxy = request.param
    with proxy(tmp_path, service.port) as port:
        yield f"http://127.0.0.1:{port}/img"


def test_the_page_and_the_documents_work(site: str, browser: Browser) -> None:
    page = browser.new_page(viewport={"width": 1100, "height": 1000})
    page.set_default_timeout(60_000)
    asked: list[tuple[int, str]] = []
    page.on("response", lambda answer: asked.append((answer.status, answer.url)))
    page.goto(f"{site}/")
    expect(page.locator("#grid .tile img")).to_have_count(16, timeout=60_000)
    expect(page.locator("#model option")).to_have_count(3, timeout=60_000)  # default, and the shipped two
    page.locator("#grid .tile[data-seed='3']").click()
    expect(page.locator("#viewer-curl")).to_contain_text(f"{site}/generate")
    page.goto(f"{site}/docs")
    expect(page.locator(".opblock").first).to_be_visible(timeout=60_000)
    assert [one for one in asked if one[0] >= 400] == []
    ours = [url for _, url in asked if urlsplit(url).netloc == urlsplit(site).netloc]
    assert [url for url in ours if not url.startswith(f"{site}/")] == []


def test_every_link_leads_on(site: str) -> None:
    with httpx.Client(base_url=site, follow_redirects=True, timeout=120) as http:
        drawn = http.post("/generate", json={"seed": 3, "resolution": 64})
        named = http.get("/images/default/3.png?resolution=64")
        assert named.content == drawn.content
        assert named.url.path.startswith("/img/images/personas@")

        job = http.post("/generate", json={"seed": 3}, headers={"Prefer": "respond-async"})
        assert job.headers["location"] == f"/img/jobs/{job.json()['id']}"
        info = httpx.get(f"{site}/iiif/3/default:3", follow_redirects=False)
        assert urlsplit(info.headers["location"]).path == "/img/iiif/3/default:3/info.json"
        assert urlsplit(info.headers["location"]).netloc == urlsplit(site).netloc


def test_links_have_the_scheme_that_the_proxy_was_reached_by(service: Service, tmp_path: Path) -> None:
    with proxies.our_own(tmp_path, service.port) as port:
        moved = httpx.get(f"http://127.0.0.1:{port}/img/iiif/3/default:3/info.json")
        where = urlsplit(moved.headers["location"])
        assert (where.scheme, where.netloc) == ("https", f"127.0.0.1:{port}")
        info = httpx.get(where._replace(scheme="http").geturl())
        assert info.json()["id"].startswith(f"https://127.0.0.1:{port}/img/iiif/3/personas%40")
