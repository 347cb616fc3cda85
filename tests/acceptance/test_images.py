"""Pictures from the shipped model, through every process."""

from __future__ import annotations

import asyncio
import io
import time
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from cli.local import run_generation
from cli.main import app as cli
from contract.messages import COLOUR_PNG, Side
from contract.settings import SHIPPED_MODELS
from tests.acceptance.conftest import Service

pytestmark = pytest.mark.acceptance

REQUESTS = [
    {"seed": 7, "resolution": 64},
    {"seed": 2**32 - 1, "resolution": [333, 200], "truncation": 0.7},
    {"seed": 0, "resolution": 256},
    {"seed": 12, "resolution": [1, 1]},
    {"seed": 3, "resolution": [1200, 900]},
]


def draw(http: httpx.Client, **body: object) -> httpx.Response:
    answer = http.post("/generate", json=body)
    assert answer.status_code == 200, answer.text
    return answer


def decoded(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def test_up_draws_a_first_picture(service: Service) -> None:
    for part in ("redis ready", "image worker ready", "training worker ready", "api ready", "curl"):
        assert part in service.said
    assert decoded((service.folder / "first.png").read_bytes()).size == (256, 256)


def test_a_picture_has_the_size_asked_for_and_says_what_it_is(http: httpx.Client) -> None:
    answer = draw(http, seed=5, resolution=[333, 200], truncation=0.5)
    image = decoded(answer.content)
    model = http.get("/models/default").json()
    assert image.size == (333, 200)
    assert image.info["Seed"] == answer.headers["x-seed"] == "5"
    assert (image.info["Model"], image.info["Resolution"]) == (model["digest"], "333x200")
    assert image.info["Truncation"] == "0.5"
    assert answer.headers["x-model"] == f"{model['name']}@{model['digest'][:12]}"


def test_grids_and_walks_are_what_the_command_line_draws(http: httpx.Client, tmp_path: Path) -> None:
    grid = {"seeds": "0-5", "layout": "grid", "resolution": [64, 48], "across": 4}
    walk = {"seeds": [1, 2], "frames": 12, "resolution": 64, "space": "w", "truncation": 0.8}
    run = CliRunner().invoke
    asked = "grid --seeds 0-5 --resolution 64x48 --across 4 --out"
    assert run(cli, [*asked.split(), str(tmp_path / "grid.png")]).exit_code == 0
    asked = "interpolate --seeds 1,2 --frames 12 --resolution 64 --space w --truncation 0.8 --out"
    assert run(cli, [*asked.split(), str(tmp_path / "walk.png")]).exit_code == 0
    assert run(cli, [*asked.split(), str(tmp_path / "walk.webp")]).exit_code == 0
    for route, body, name in (
        ("/generate", grid, "grid.png"),
        ("/interpolate", walk, "walk.png"),
        ("/interpolate", walk | {"format": "webp"}, "walk.webp"),
    ):
        answer = http.post(route, json=body)
        assert answer.status_code == 200, answer.text
        assert answer.content == (tmp_path / name).read_bytes()


@pytest.mark.parametrize("body", [{"seed": 7, "resolution": 300}, {"seeds": "0-3", "resolution": 64}])
def test_a_job_makes_the_file_that_is_streamed(http: httpx.Client, body: dict[str, object]) -> None:
    asked = http.post("/generate", json=body, headers={"Prefer": "respond-async"})
    assert asked.status_code == 202
    where, deadline = asked.headers["location"], time.monotonic() + 60
    while http.get(where).json()["status"] != "succeeded":
        assert time.monotonic() < deadline, http.get(where).text
        time.sleep(0.1)
    assert http.get(f"{where}/result").content == draw(http, **body).content


def test_seeds_are_different_pictures(http: httpx.Client) -> None:
    pictures = [np.asarray(decoded(draw(http, seed=s, resolution=64).content), float) for s in range(8)]
    distances = [abs(a - b).mean() for i, a in enumerate(pictures) for b in pictures[:i]]
    assert min(distances) > 2  # of 255: no two seeds are one picture
    assert np.mean(distances) > 20


def test_a_larger_picture_is_the_same_picture_with_more_pixels(http: httpx.Client) -> None:
    small = decoded(draw(http, seed=9, resolution=64).content)
    large = decoded(draw(http, seed=9, resolution=512).content).resize((64, 64), Image.Resampling.BOX)
    assert np.abs(np.asarray(small, float) - np.asarray(large, float)).mean() < 8


def test_every_shipped_model_draws(http: httpx.Client) -> None:
    """Each fits its limit of 12 MB, draws at native size and above, and no two draw the same."""
    folders = sorted(path.parent for path in SHIPPED_MODELS.glob("*/config.json"))
    assert {"cifar10-32", "personas"} <= {folder.name for folder in folders}
    drawn = set()
    for folder in folders:
        assert sum(file.stat().st_size for file in folder.iterdir()) < 12_000_000
        for side in (32, 256):
            answer = draw(http, seed=1, resolution=side, model=folder.name)
            assert answer.headers["x-model"].startswith(f"{folder.name}@")
            image = decoded(answer.content)
            assert image.size == (side, side)
            assert np.asarray(image, float).std() > 10
            drawn.add(answer.content)
    assert len(drawn) == 2 * len(folders)


async def many(service: Service, bodies: list[dict[str, object]]) -> list[bytes]:
    limits = httpx.Limits(max_connections=len(bodies))
    base = f"http://127.0.0.1:{service.port}"
    async with httpx.AsyncClient(base_url=base, timeout=120, limits=limits) as http:
        answers = await asyncio.gather(*(http.post("/generate", json=body) for body in bodies))
    assert {answer.status_code for answer in answers} == {200}
    return [answer.content for answer in answers]


def test_the_same_request_gives_the_same_bytes(service: Service, tmp_path: Path) -> None:
    with service.http() as http:
        alone = [draw(http, **request).content for request in REQUESTS]
        tags = [draw(http, **request).headers["etag"] for request in REQUESTS]
        # Among 64 others of the same size, so that they share batches.
        for request, expected in zip(REQUESTS[:3], alone, strict=False):
            others = [request | {"seed": seed, "truncation": seed / 200} for seed in range(100, 164)]
            crowd = [*others[:30], request, *others[30:]]
            assert asyncio.run(many(service, crowd))[30] == expected

    # The command line draws the same bytes without the service.
    run_generation("personas", [7], Side.whole(64), Side.whole(64), 1.0, COLOUR_PNG, tmp_path)
    assert (tmp_path / "seed0007.png").read_bytes() == alone[0]

    # And so does another start of the service, with another number of threads.
    service.stop()
    again = Service.start(service.folder, VITGAN_THREADS="1")
    with again.http() as http:
        assert [draw(http, **request).content for request in REQUESTS] == alone
        assert [draw(http, **request).headers["etag"] for request in REQUESTS] == tags
    again.stop()
