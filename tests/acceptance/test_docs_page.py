"""/docs in a real browser that reaches this service and nothing else."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.acceptance.conftest import Service

pytestmark = pytest.mark.acceptance


@pytest.fixture
def complaints() -> list[str]:
    """What the browser asked others for, and what it wrote into its console."""
    return []


@pytest.fixture
def page(service: Service, browser: Browser, complaints: list[str]) -> Page:
    page = browser.new_page(viewport={"width": 1100, "height": 1000})
    page.set_default_timeout(60_000)
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))

    def pass_on(route: Route) -> None:
        ours = urlsplit(route.request.url)
        if ours.scheme == "http" and ours.netloc != f"127.0.0.1:{service.port}":
            complaints.append(route.request.url)
            route.abort()
        else:
            route.continue_()

    page.route("**/*", pass_on)
    page.goto(f"http://127.0.0.1:{service.port}/redoc")
    return page


def test_the_documents_come_from_here_alone(service: Service, page: Page, complaints: list[str]) -> None:
    assert urlsplit(page.url).path == "/docs"
    expect(page.locator(".opblock").first).to_be_visible(timeout=60_000)
    with service.http() as http:
        paths = http.get("/openapi.json").json()["paths"]
    operations = sum(len(methods) for methods in paths.values())
    expect(page.locator(".opblock")).to_have_count(operations)
    assert complaints == []


def test_a_picture_is_drawn_from_the_documents(page: Page, complaints: list[str]) -> None:
    drawing = page.locator(".opblock", has=page.locator("[data-path='/generate']"))
    drawing.locator(".opblock-summary-control").click()
    drawing.get_by_role("button", name="Try it out").click()
    drawing.locator("textarea.body-param__text").fill('{"seed": 7, "resolution": 64}')
    drawing.get_by_role("button", name="Execute").click()
    picture = drawing.locator(".responses-table.live-responses-table img")
    expect(picture).to_have_js_property("naturalWidth", 64, timeout=60_000)
    expect(drawing.locator(".live-responses-table")).to_contain_text("x-seed: 7")
    assert complaints == []
