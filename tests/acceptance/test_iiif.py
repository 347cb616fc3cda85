"""IIIF from the shipped model: the pixels, and a real viewer in a real browser."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterator

import httpx
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, Response

from tests.acceptance.conftest import Service
from tests.acceptance.sites import VENDOR, site_of

pytestmark = pytest.mark.acceptance

FULL = 65_536


def pixels(http: httpx.Client, rest: str, seed: int = 3) -> np.ndarray:
    answer = http.get(f"/iiif/3/default:{seed}/{rest}", follow_redirects=True)
    assert answer.status_code == 200, answer.text
    return np.asarray(Image.open(io.BytesIO(answer.content)))


def test_a_scaled_region_is_cut_from_the_image_of_that_scale(http: httpx.Client) -> None:
    answer = http.post("/generate", json={"seed": 3, "resolution": 512})
    whole = np.asarray(Image.open(io.BytesIO(answer.content)))
    assert np.array_equal(pixels(http, "full/512,/0/default.png"), whole)
    assert np.array_equal(pixels(http, "0,32768,32768,16384/256,/0/default.png"), whole[256:384, :256])
    assert np.array_equal(pixels(http, "pct:50,50,25,25/pct:.78125/0/color.png"), whole[256:384, 256:384])


def test_it_is_mirrored_turned_and_coloured(http: httpx.Client) -> None:
    upright = pixels(http, "full/96,64/0/default.png")
    assert upright.shape == (64, 96, 3)
    turned = pixels(http, "full/96,64/!90/default.png")
    assert np.array_equal(turned, np.rot90(upright[:, ::-1], -1))  # mirrored first, then clockwise
    grey = pixels(http, "full/96,64/0/gray.png")
    assert np.abs(grey - upright @ [0.299, 0.587, 0.114]).max() <= 0.51
    black_and_white = pixels(http, "full/96,64/0/bitonal.png")
    assert np.array_equal(black_and_white, grey >= 128)
    for suffix in ("jpg", "webp"):  # lossy, but the same picture
        near = pixels(http, f"full/96,64/0/default.{suffix}").astype(float)
        assert np.abs(near - upright).mean() < 6


@pytest.fixture
def other_site() -> Iterator[str]:
    """A page of another origin that shows a viewer."""
    with site_of(VENDOR) as site:
        yield site


def settle(page: Page) -> None:
    """Until every tile of what is looked at is there."""
    page.wait_for_function("viewer.world.getItemCount() === 1 && viewer.world.getItemAt(0).getFullyLoaded()")


def shown(page: Page) -> np.ndarray:
    """The viewer once it has drawn its tiles: when half a second changes nothing any more."""
    before, now = b"", page.locator("#viewer").screenshot()
    while now != before:
        page.wait_for_timeout(500)
        before, now = now, page.locator("#viewer").screenshot()
    return np.asarray(Image.open(io.BytesIO(now)).convert("RGB"), float)


def steepest(image: np.ndarray) -> tuple[float, float]:
    """Where the picture changes most, as shares of its sides."""
    grey = image.astype(float).mean(axis=2)
    steps = np.abs(np.diff(grey, axis=0))[:, :-1] + np.abs(np.diff(grey, axis=1))[:-1]
    row, column = np.unravel_index(steps.argmax(), steps.shape)
    return (int(column) + 1) / len(grey), (int(row) + 1) / len(grey)


def test_openseadragon_zooms_into_a_seed(service: Service, browser: Browser, other_site: str) -> None:
    page = browser.new_page(viewport={"width": 768, "height": 512})
    page.set_default_timeout(120_000)
    answers: list[Response] = []
    page.on("response", lambda response: answers.append(response))
    page.goto(f"{other_site}/viewer.html?http://127.0.0.1:{service.port}/iiif/3/default:3/info.json")
    settle(page)
    home = shown(page)
    assert home.std() > 10  # a picture, not the background alone
    with service.http() as http:
        x, y = steepest(pixels(http, "full/256,/0/default.png"))
    page.evaluate(f"viewer.viewport.zoomTo(64, new OpenSeadragon.Point({x}, {y}), true)")
    page.evaluate(f"viewer.viewport.panTo(new OpenSeadragon.Point({x}, {y}), true)")
    settle(page)
    near = shown(page)
    if picture := os.environ.get("SCREENSHOT"):
        Image.fromarray(np.concatenate([home, near], axis=1).astype(np.uint8)).save(picture)

    refusals = [answer.url for answer in answers if answer.status >= 400 and "/iiif/" in answer.url]
    assert refusals == []
    tiles = [match for answer in answers if (match := re.search(r"/(\d+),(\d+),(\d+),(\d+)/", answer.url))]
    assert min(int(match[3]) for match in tiles) <= 1024  # fine tiles were asked for, by their own URLs

    bounds = page.evaluate("(({x, y, width, height}) => [x, y, width, height])(viewer.viewport.getBounds())")
    x, y, width, height = (round(side * FULL) for side in bounds)
    with service.http() as http:
        asked = pixels(http, f"{x},{y},{width},{height}/768,512/0/default.png").astype(float)
    assert asked.std() > 3  # an edge, so that a shift would show
    error = np.square(near - asked).mean()
    assert 10 * np.log10(255**2 / max(error, 1e-9)) > 30  # what is shown is what lies there
