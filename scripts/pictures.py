"""``make pictures``: the documents' pictures of the shipped models, drawn anew from their weights.

The page's is a photograph of the running service in Chromium. docs/dashboards.png is drawn by the test that
names it, docs/toy.png by the test of the toy.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import expect, sync_playwright

from cli.local import run_composition
from contract.messages import Side, Walk
from contract.settings import SHIPPED_MODELS
from model.checkpoint import load_generator
from model.generator import Generator
from model.rendering import Region, render
from model.sampling import sample_tokens
from tests.acceptance.conftest import CHROMIUM, FLAGS, Service

DOCS = Path(__file__).resolve().parent.parent / "docs"
DEFAULT = "personas"
ROW = (1, 4, 6, 14, 20, 27)  # seeds of the row beside a resize
LARGE = 4
STOPS = (4, 14, 50, 27, 68, 6)
NEAR = (0.415, 0.45)  # where the nearer views look, in parts of width and height


def draw_grid(name: str) -> None:
    """docs/NAME.webp: seeds 0 to 99 at 64 px."""
    generator = load_generator(SHIPPED_MODELS / name)
    beside([painted(generator, seed, 64) for seed in range(100)], 10).save(DOCS / f"{name}.webp", quality=90)


def draw_walk() -> None:
    """docs/walk.webp: from seed to seed and back."""
    whole = Side.whole(192)
    what = Walk(
        seeds=STOPS, truncation=1.0, columns=whole, rows=whole, frames=16 * len(STOPS), space="z", loop=True,
        fps=12, format="webp",
    )  # fmt: skip
    run_composition(DEFAULT, what, DOCS / "walk.webp")


def painted(generator: Generator, seed: int, side: int) -> Image.Image:
    """A seed at that size."""
    return Image.fromarray(render(generator, sample_tokens(generator, [seed], [1.0]), side, side)[0].numpy())


def resized(generator: Generator, seed: int, side: int) -> Image.Image:
    """Its picture of native size, enlarged with a bicubic filter."""
    native = painted(generator, seed, generator.config.resolution)
    return native.resize((side, side), Image.Resampling.BICUBIC)


def beside(images: list[Image.Image], across: int) -> Image.Image:
    """Images of one size, row by row."""
    width, height = images[0].size
    sheet = Image.new("RGB", (width * across, height * -(-len(images) // across)))
    for index, image in enumerate(images):
        sheet.paste(image, (index % across * width, index // across * height))
    return sheet


def draw_comparisons() -> None:
    """docs/large.webp and docs/zoom.webp: a resize beside, or above, what the SIRENs paint."""
    generator = load_generator(SHIPPED_MODELS / DEFAULT)
    pair = [resized(generator, LARGE, 1024), painted(generator, LARGE, 1024)]
    beside(pair, 2).save(DOCS / "large.webp", quality=88)
    rows = [
        *(resized(generator, seed, 256) for seed in ROW),
        *(painted(generator, seed, 256) for seed in ROW),
    ]
    beside(rows, len(ROW)).save(DOCS / "zoom.webp", quality=88)


def draw_nearer() -> None:
    """docs/nearer.webp: a seed, and parts of it 4 and 64 times nearer."""
    generator = load_generator(SHIPPED_MODELS / DEFAULT)
    tokens, views = sample_tokens(generator, [LARGE], [1.0]), []
    for zoom in (1, 4, 64):
        side = 512 * zoom
        left, top = (0, 0) if zoom == 1 else (round(at * side) - 256 for at in NEAR)
        part = render(generator, tokens, side, side, Region(left, top, 512, 512))
        views.append(Image.fromarray(part[0].numpy()))
    beside(views, 3).save(DOCS / "nearer.webp", quality=88)


def photograph_page() -> None:
    """docs/studio.png: the page at / of a service of its own."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        service = Service.start(Path(folder))
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": 1100, "height": 1000})
        page.goto(f"http://127.0.0.1:{service.port}/")
        for image in page.locator("#grid .tile img").all():
            expect(image).to_have_js_property("complete", True, timeout=60_000)
        page.wait_for_load_state("networkidle")
        page.screenshot(path=DOCS / "studio.png")
        browser.close()
        service.stop()


def main() -> None:
    """Draws all of them."""
    for folder in sorted(SHIPPED_MODELS.glob("*/config.json")):
        draw_grid(folder.parent.name)
    draw_walk()
    draw_comparisons()
    draw_nearer()
    photograph_page()


if __name__ == "__main__":
    main()
