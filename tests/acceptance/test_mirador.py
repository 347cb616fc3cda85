"""Manifests in a real Mirador in a real browser."""

from __future__ import annotations

import io
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Response, expect

from tests.acceptance.conftest import Service
from tests.acceptance.sites import TOOLS, VENDOR, site_of

pytestmark = pytest.mark.acceptance

MIRADOR = TOOLS / "mirador" / "mirador.min.js"


@pytest.fixture
def other_site(tmp_path: Path) -> Iterator[str]:
    if not MIRADOR.is_file():
        pytest.skip("Mirador is not here: `make tools` fetches it, with npm")
    for file in (MIRADOR, VENDOR / "mirador.html"):
        shutil.copy(file, tmp_path)
    with site_of(tmp_path) as site:
        yield site


def test_mirador_turns_the_pages_of_a_manifest(service: Service, browser: Browser, other_site: str) -> None:
    page = browser.new_page(viewport={"width": 1100, "height": 800})
    page.set_default_timeout(60_000)
    answers: list[Response] = []
    failures: list[str] = []
    page.on("response", lambda answer: answers.append(answer))
    page.on("pageerror", lambda error: failures.append(str(error)))
    manifest = f"http://127.0.0.1:{service.port}/iiif/presentation/3/default:3,7,11/manifest.json"
    page.goto(f"{other_site}/mirador.html?{manifest}")

    expect(page.get_by_text("1 of 3 • Seed 3")).to_be_visible(timeout=60_000)
    expect(page.locator(".mirador-window h2").first).to_contain_text("personas@")
    with page.expect_response(re.compile(r":7:65536/\d+,\d+,\d+,\d+/")):  # a tile, not the whole alone
        page.get_by_role("button", name="Next item").click()
        expect(page.get_by_text("2 of 3 • Seed 7")).to_be_visible(timeout=60_000)
        page.get_by_role("button", name="Zoom in").click()
    page.wait_for_load_state("networkidle")
    assert failures == []
    assert [answer.url for answer in answers if answer.status >= 400] == []

    canvas = page.locator(".mirador-osd-container canvas").first
    before, now = b"", canvas.screenshot()
    while now != before:  # until half a second changes nothing any more
        page.wait_for_timeout(500)
        before, now = now, canvas.screenshot()
    if picture := os.environ.get("SCREENSHOT"):
        page.screenshot(path=picture)
    assert np.asarray(Image.open(io.BytesIO(now)).convert("RGB"), float).std() > 10  # a picture is shown
