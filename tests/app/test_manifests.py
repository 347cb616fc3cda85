"""Manifests of IIIF Presentation API 3.0: https://iiif.io/api/presentation/3.0/."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from app.presentation import MAX_CANVASES
from tests.app.conftest import Api, Start
from tests.app.test_generate import refused


async def get(api: Api, identifier: str, **headers: str) -> httpx.Response:
    return await api.http.get(f"/iiif/presentation/3/{identifier}/manifest.json", headers=headers)


async def manifest(api: Api, identifier: str) -> dict[str, Any]:
    answer = await get(api, identifier)
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


def body(canvas: dict[str, Any]) -> dict[str, Any]:
    """The image that is painted on it."""
    painted: dict[str, Any] = canvas["items"][0]["items"][0]["body"]
    return painted


async def test_it_has_one_canvas_for_each_seed(api: Api) -> None:
    told = await manifest(api, "default:0-2,20")
    assert told["@context"] == "http://iiif.io/api/presentation/3/context.json"
    assert told["type"] == "Manifest"
    assert told["id"] == "http://test/iiif/presentation/3/default:0-2,20/manifest.json"
    assert "0-2,20" in told["label"]["en"][0]
    canvases = told["items"]
    assert [canvas["label"]["en"] for canvas in canvases] == [[f"Seed {seed}"] for seed in (0, 1, 2, 20)]
    assert len({canvas["id"] for canvas in canvases}) == 4
    for canvas in canvases:
        assert (canvas["type"], canvas["width"], canvas["height"]) == ("Canvas", 65_536, 65_536)
        (page,) = canvas["items"]
        (painting,) = page["items"]
        assert (page["type"], painting["type"]) == ("AnnotationPage", "Annotation")
        assert (painting["motivation"], painting["target"]) == ("painting", canvas["id"])


async def test_what_it_names_is_there(api: Api) -> None:
    for canvas in (await manifest(api, "default:7,8"))["items"]:
        for image in (body(canvas), canvas["thumbnail"][0]):
            answer = await api.http.get(image["id"])
            assert answer.status_code == 200, answer.text
            assert "immutable" in answer.headers["cache-control"]
            assert answer.headers["content-type"] == image["format"]
            drawn = f" {image['width']}x{image['height']} ".encode()
            assert drawn in answer.content  # as the painter of these tests says
            (service,) = image["service"]
            info = (await api.http.get(f"{service['id']}/info.json")).json()
            assert {info[key] for key in ("id", "type", "profile")} == {
                service[key] for key in ("id", "type", "profile")
            }
            assert (info["width"], info["height"]) == (canvas["width"], canvas["height"])


async def test_its_images_are_within_the_limits(start: Start) -> None:
    api = await start(max_whole_pixels=10_000, iiif_side=200)
    image = body((await manifest(api, "default:7"))["items"][0])
    assert (image["width"], (await api.http.get(image["id"])).status_code) == (100, 200)


async def test_it_is_json_ld_for_who_accepts_it_and_not_sent_twice(api: Api) -> None:
    first = await get(api, "default:0-9", Accept="application/ld+json")
    assert first.headers["content-type"].startswith(
        'application/ld+json;profile="http://iiif.io/api/presentation/3/'
    )
    assert (await get(api, "default:0-9")).headers["content-type"] == "application/json"
    assert first.headers["cache-control"] == "no-cache"
    assert first.headers["access-control-allow-origin"] == "*"
    known = {"Accept": "application/ld+json", "If-None-Match": first.headers["etag"]}
    assert (await get(api, "default:0-9", **known)).status_code == 304
    asked = await api.http.options("/iiif/presentation/3/default:0-9/manifest.json")
    assert asked.status_code == 204


async def test_what_it_names_follows_the_root_path(start: Start) -> None:
    told = await manifest(await start(root_path="/img"), "default:7")
    assert told["id"].startswith("http://test/img/iiif/presentation/3/")
    assert body(told["items"][0])["service"][0]["id"].startswith("http://test/img/iiif/3/personas%40")


async def test_the_number_of_seeds_is_bounded(api: Api) -> None:
    assert len((await manifest(api, f"default:1-{MAX_CANVASES}"))["items"]) == MAX_CANVASES
    refused(await get(api, f"default:0-{MAX_CANVASES}"), 400, "501", f"at most {MAX_CANVASES}")
    refused(await get(api, "default:0-4294967295"), 400, "4294967296")
    refused(await get(api, "default:1,2,1"), 400, "twice")


@pytest.mark.parametrize(
    "identifier", ["default", "nobody:1", "default:", "default:x", "default:3-1", "default:4294967296", ":1"]
)
async def test_unknown_ones_are_404(api: Api, identifier: str) -> None:
    refused(await get(api, identifier), 404)
