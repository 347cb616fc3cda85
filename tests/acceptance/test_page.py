"""The page in a real browser."""

from __future__ import annotations

import os

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.acceptance.conftest import Service

pytestmark = pytest.mark.acceptance


@pytest.fixture
def page(service: Service, browser: Browser) -> Page:
    page = browser.new_page(viewport={"width": 1100, "height": 1000})
    page.set_default_timeout(60_000)
    page.goto(f"http://127.0.0.1:{service.port}/#seed=0&truncation=1&size=333x200")
    return page


def test_the_grid_draws_and_a_seed_opens_large(page: Page) -> None:
    expect(page.locator("#grid .tile img")).to_have_count(16, timeout=60_000)
    for image in page.locator("#grid .tile img").all():
        expect(image).to_have_js_property("naturalWidth", 128, timeout=60_000)
    if picture := os.environ.get("SCREENSHOT"):
        page.screenshot(path=picture)

    page.locator("#grid .tile[data-seed='3']").click()
    expect(page.locator("#viewer")).to_be_visible()
    expect(page.locator("#viewer img")).to_have_js_property("naturalWidth", 333, timeout=60_000)
    expect(page.locator("#viewer-caption")).to_contain_text("personas@")
    expect(page.locator("#viewer-curl")).to_contain_text('"seed":3,"resolution":[333,200]')
    page.keyboard.press("Escape")
    expect(page.locator("#viewer")).to_be_hidden()


def test_a_refusal_is_shown(page: Page) -> None:
    page.locator("#size").fill("99999")
    page.locator("#grid .tile").first.click()
    expect(page.locator("#viewer-caption, #message").first).to_be_attached()
    expect(page.locator("body")).to_contain_text("65536")
