"""The rules of IIIF Image API 3.0, level 2, as its validator asks them (https://iiif.io/api/image/3.0/)."""

from __future__ import annotations

import random
from fractions import Fraction

import pytest

from app import iiif
from app.errors import BadRequest
from app.iiif import Limits, Rectangle, read_region, read_rotation, read_size
from contract.messages import Form
from tests.app.conftest import Api, Start
from tests.app.test_generate import refused

FULL = 65_536
LIMITS = Limits(area=2**24)
ALL = Rectangle(0, 0, FULL, FULL)
WIDE = Rectangle(0, 0, 600, 400)


@pytest.mark.parametrize("region", [Rectangle(0, 0, 1, 4), Rectangle(0, 0, 4, 1), Rectangle(0, 0, 1, 99)])
def test_the_largest_of_the_thinnest_is_within_the_smallest_limit(region: Rectangle) -> None:
    for area in (1, 2, 3):
        width, height = read_size("max", region, Limits(area))
        assert 1 <= width * height <= area


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("full", ALL),
        ("square", ALL),
        ("10,20,30,40", Rectangle(10, 20, 30, 40)),
        ("65000,0,1000,10", Rectangle(65_000, 0, 536, 10)),  # cut off at the edge
        ("pct:50,25,25,12.5", Rectangle(32_768, 16_384, 16_384, 8_192)),
        ("pct:0,0,100,100", ALL),
        ("pct:99,99,50,50", Rectangle(64_881, 64_881, 655, 655)),
        ("pct:0,0,.5,.5", Rectangle(0, 0, 328, 328)),
    ],
)
def test_regions(text: str, expected: Rectangle) -> None:
    assert read_region(text, FULL) == expected


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "all",
            "1,2,3",
            "1,2,3,4,5",
            "-1,0,10,10",
            "0,0,0,10",
            "0,0,10,0",
            "65536,0,1,1",
            "1.5,0,10,10",
        ),
        *(
            "pct:0,0,0,1",
            "pct:100,0,1,1",
            "pct:-1,0,1,1",
            "pct:1,1,1",
            "pct:a,0,1,1",
            "0,0,10,10 ",
            "٣,0,1,1",
        ),
    ],
)
def test_regions_that_are_refused(text: str) -> None:
    with pytest.raises(BadRequest, match="region"):
        read_region(text, FULL)


@pytest.mark.parametrize(
    ("text", "region", "expected"),
    [
        ("max", WIDE, (600, 400)),
        ("max", ALL, (4096, 4096)),  # maxArea
        ("max", Rectangle(0, 0, FULL, 1), (16_383, 1)),  # maxWidth
        ("^max", WIDE, (5016, 3344)),
        ("300,", WIDE, (300, 200)),
        (",300", WIDE, (450, 300)),
        ("^1200,", WIDE, (1200, 800)),
        ("^,800", WIDE, (1200, 800)),
        ("pct:50", WIDE, (300, 200)),
        ("pct:.5", WIDE, (3, 2)),
        ("^pct:150", WIDE, (900, 600)),
        ("300,300", WIDE, (300, 300)),  # the aspect is the client's
        ("^700,300", WIDE, (700, 300)),
        ("!300,300", WIDE, (300, 200)),
        ("!3000,3000", WIDE, (600, 400)),  # never larger than the region
        ("^!3000,3000", WIDE, (3000, 2000)),
        ("!9000,9000", ALL, (4096, 4096)),  # never larger than the limits
        ("^!60000,60000", WIDE, (5016, 3344)),
        ("^300,", WIDE, (300, 200)),  # ^ allows, it does not force
    ],
)
def test_sizes(text: str, region: Rectangle, expected: tuple[int, int]) -> None:
    assert read_size(text, region, LIMITS) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        *(
            (text, "give max")
            for text in ("", "full", ",", "a,", "1,2,3", "!1,", "!,1", "pct:", "pct:-1", "^")
        ),
        *(
            (text, "each side must have 1")
            for text in ("0,", ",0", "0,10", "!0,5", "pct:0", "pct:0.001", "1,0")
        ),
        *((text, r"ask for \^") for text in ("601,", ",401", "600,401", "pct:101", "800,800")),
        *((text, "at most 16383 a side and 16777216") for text in ("^16384,1", "^8000,8000", "^pct:9999")),
    ],
)
def test_sizes_that_are_refused(text: str, words: str) -> None:
    with pytest.raises(BadRequest, match=f"size: .*{words}"):
        read_size(text, WIDE, LIMITS)


def test_no_size_is_over_the_limits() -> None:
    rng = random.Random(0)
    for _ in range(2000):
        region = Rectangle(0, 0, rng.randint(1, FULL), rng.randint(1, FULL))
        for text in ("max", "^max", f"!{rng.randint(1, 99_999)},{rng.randint(1, 99_999)}"):
            try:
                width, height = read_size(text, region, LIMITS)
            except BadRequest:
                assert max(region.width, region.height) > 2 * min(region.width, region.height)  # below 1 px
                continue
            assert width * height <= LIMITS.area
            assert max(width, height) <= LIMITS.edge
            if "^" not in text:
                assert width <= region.width
                assert height <= region.height
            if min(width, height) > 100:
                assert width / height == pytest.approx(region.width / region.height, rel=0.02)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", (False, 0)),
        ("90", (False, 90)),
        ("!270", (True, 270)),
        ("360", (False, 0)),
        ("180.0", (False, 180)),
    ],
)
def test_rotations(text: str, expected: tuple[bool, int]) -> None:
    assert read_rotation(text) == expected


@pytest.mark.parametrize("text", ["", "45", "22.5", "-90", "450", "!", "!!90", "north", "9e1", "361"])
def test_rotations_that_are_refused(text: str) -> None:
    with pytest.raises(BadRequest, match="rotation"):
        read_rotation(text)


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ("square/max/0/color.jpg", "full/max/0/default.jpg"),
        ("full/4096,/360/default.png", "full/max/0/default.png"),
        ("pct:0,0,50,50/512,/!90.0/gray.webp", "0,0,32768,32768/512,512/!90/gray.webp"),
        ("0,0,100,100/^!200,300/0/bitonal.png", "0,0,100,100/^200,200/0/bitonal.png"),
        ("0,0,100,100/^max/0/default.png", "0,0,100,100/^max/0/default.png"),
        ("0,0,100,100/pct:100/0/default.png", "0,0,100,100/max/0/default.png"),
    ],
)
def test_the_canonical_form(written: str, canonical: str) -> None:
    asked = iiif.read(*written.split("/"), FULL, LIMITS)  # type: ignore[arg-type]
    assert asked.canonical == canonical
    again = iiif.read(*canonical.split("/"), FULL, LIMITS)  # type: ignore[arg-type]
    assert again == asked


def test_every_listed_tile_and_size_can_be_asked_for() -> None:
    for full in (FULL, 4096, 1000, 100, 32):
        about = iiif.information("http://here/x", full, LIMITS)
        for size in about["sizes"]:
            assert read_size(f"{size['width']},{size['height']}", Rectangle(0, 0, full, full), LIMITS)
        tile = about["tiles"][0]
        factors = tile["scaleFactors"]
        assert Fraction(full, factors[-1]) <= 2 * tile["width"]  # the coarsest level is a tile or few
        for factor in factors:
            step = factor * tile["width"]
            x = (full - 1) // step * step  # the last column: cut off
            region = read_region(f"{x},0,{step},{step}", full)
            width, height = (-(-side // factor) for side in (region.width, region.height))
            assert read_size(f"{width},{height}", region, LIMITS) == (width, height)


def pinned(api: Api, rest: str = "", seed: int | str = 42, side: int = FULL) -> str:
    return f"/iiif/3/personas%40{api.services.model('default').short_digest}:{seed}:{side}{rest}"


async def test_the_description(api: Api) -> None:
    base = pinned(api)
    answer = await api.http.get(f"{base}/info.json")
    assert answer.headers["content-type"] == "application/json"
    about = answer.json()
    assert about["id"] == f"http://test{base}"
    told = {
        key: about[key] for key in ("@context", "type", "protocol", "profile", "width", "height", "maxArea")
    }
    assert told == {
        "@context": "http://iiif.io/api/image/3/context.json",
        "type": "ImageService3",
        "protocol": "http://iiif.io/api/image",
        "profile": "level2",
        "width": FULL,
        "height": FULL,
        "maxArea": 2**24,
    }
    linked = await api.http.get(f"{base}/info.json", headers={"Accept": "application/ld+json"})
    assert linked.headers["content-type"].startswith("application/ld+json;profile=")
    assert linked.json() == about
    base_answer = await api.http.get(base)
    assert (base_answer.status_code, base_answer.headers["location"]) == (303, f"http://test{base}/info.json")


async def test_the_full_size_is_a_setting(start: Start) -> None:
    api = await start(iiif_side=1000, max_whole_pixels=10_000)
    about = (await api.http.get("/iiif/3/default:42/info.json", follow_redirects=True)).json()
    assert (about["width"], about["maxArea"]) == (1000, 10_000)
    assert about["id"] == f"http://test{pinned(api, side=1000)}"
    refused(await api.http.get(f"{about['id']}/full/101,/0/default.png"), 400, "10000 pixels")


async def test_a_url_that_fixes_the_side_means_the_same_under_another_setting(start: Start) -> None:
    small, large = await start(iiif_side=1000), await start(iiif_side=2000)
    url = pinned(small, "/0,0,500,500/250,/0/default.png", side=1000)
    tags = {(await api.http.head(url)).headers["etag"] for api in (small, large)}
    assert len(tags) == 1
    without = url.replace(":42:1000", ":42")  # which the setting has a say in
    for api, side in ((small, 1000), (large, 2000)):
        answer = await api.http.get(without)
        assert (answer.status_code, answer.headers["cache-control"]) == (307, "no-cache")
        assert f":42:{side}/0,0,500,500" in answer.headers["location"]


@pytest.mark.parametrize(
    ("size", "kept"),
    [
        ("64,", "immutable"), ("^64,32", "immutable"), (",64", "immutable"), ("pct:50", "immutable"),
        ("max", "no-cache"), ("^max", "no-cache"), ("!64,64", "no-cache"),  # which limits bear on
    ],
)  # fmt: skip
async def test_what_is_cached_for_ever_depends_on_no_setting(api: Api, size: str, kept: str) -> None:
    head = await api.http.head(pinned(api, f"/0,0,128,128/{size}/0/default.png"))
    assert head.status_code == 200
    assert kept in head.headers["cache-control"]


async def test_the_description_is_asked_anew_and_not_sent_twice(api: Api, start: Start) -> None:
    url = pinned(api, "/info.json")
    first = await api.http.get(url)
    assert first.headers["cache-control"] == "no-cache"
    known = {"If-None-Match": first.headers["etag"]}
    again = await api.http.get(url, headers=known)
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]
    linked = await api.http.get(url, headers=known | {"Accept": "application/ld+json"})
    assert linked.status_code == 200
    for other in (
        await (await start(max_whole_pixels=10_000)).http.get(url, headers=known),
        await api.http.get(url.replace("/iiif", "https://test/iiif", 1), headers=known),
    ):
        assert other.status_code == 200
        assert other.json() != first.json()


@pytest.mark.parametrize("path", ["", "/", "/a/b", "/a/b/c", "/a/info.json/b", "/default:1/full/max/0/a/b"])
async def test_unknown_paths_below_it_are_404(api: Api, path: str) -> None:
    for method in ("GET", "HEAD", "POST", "OPTIONS"):
        answer = await api.http.request(method, f"/iiif/3{path}")
        assert answer.status_code == 404, method
        assert answer.headers["access-control-allow-origin"] == "*"


async def test_what_a_url_asks_of_the_worker(api: Api) -> None:
    answer = await api.http.get(pinned(api, "/16384,0,8192,4096/512,/!90/gray.jpg"))
    assert answer.content == b"42 512x256 1.0"
    assert answer.headers["content-type"] == "image/jpeg"
    batch = api.painter.batches[0]
    assert batch.form == Form(format="jpeg", quality="gray", mirrored=True, rotation=90)
    assert (batch.columns.full, batch.columns.start, batch.columns.length) == (FULL, 16_384, 8_192)
    links = answer.headers["link"]
    canonical = pinned(api, "/16384,0,8192,4096/512,256/!90/gray.jpg")
    assert f'<http://test{canonical}>;rel="canonical"' in links
    assert '<http://iiif.io/api/image/3/level2.json>;rel="profile"' in links
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"


async def test_two_ways_to_ask_for_the_same_have_one_tag(api: Api) -> None:
    rests = (
        "/full/512,/0/default.png",
        "/square/!512,900/0/color.png",
        "/pct:0,0,100,100/512,512/360/default.png",
    )
    heads = [await api.http.head(pinned(api, rest)) for rest in rests]
    assert len({head.headers["etag"] for head in heads}) == 1
    given = {"If-None-Match": heads[0].headers["etag"]}
    assert (await api.http.get(pinned(api, rests[1]), headers=given)).status_code == 304
    assert api.painter.batches == []


async def test_a_name_is_redirected_to_its_digest(api: Api) -> None:
    for rest in ("/info.json", "/0,0,9,9/^!64,64/!90/default.webp"):
        answer = await api.http.get(f"/iiif/3/default:42{rest}")
        assert (answer.status_code, answer.headers["cache-control"]) == (307, "no-cache")
        assert answer.headers["location"] == f"http://test{pinned(api, rest)}".replace("^", "%5E")


async def test_pages_of_other_sites_may_read_it(api: Api) -> None:
    urls = (pinned(api, "/info.json"), pinned(api, "/full/64,/0/default.png"), "/iiif/3/default:x/info.json")
    for url in urls:
        answer = await api.http.get(url, headers={"Origin": "http://viewer.test"})
        assert answer.headers["access-control-allow-origin"] == "*"
    asked = await api.http.options(urls[0], headers={"Access-Control-Request-Method": "GET"})
    assert asked.status_code == 204
    assert "GET" in asked.headers["access-control-allow-methods"]
    assert "access-control-allow-origin" not in (await api.http.get("/models")).headers


@pytest.mark.parametrize(
    ("rest", "word"),
    [
        ("/full/max/0/default", "format"),
        ("/full/max/0/default.gif", "format"),
        ("/full/max/0/sepia.png", "quality"),
        ("/full/max/45/default.png", "rotation"),
        ("/full/full/0/default.png", "size"),
        ("/0,0,10,10/20,/0/default.png", "^20,"),
        ("/nothing/max/0/default.png", "region"),
    ],
)
async def test_what_the_standard_does_not_know_is_400(api: Api, rest: str, word: str) -> None:
    refused(await api.http.get(pinned(api, rest)), 400, word)
    assert api.painter.batches == []


@pytest.mark.parametrize(
    "name",
    [
        "personas",
        "nobody:1",
        "personas:-1",
        "personas:4294967296",
        "personas@00:1",
        ":1",
        "personas:1:31",
        "personas:1:65537",
        "personas:1:64:1",
        "personas:1:x",
        "personas:1:99999999999999999999",
        "personas:1::",
    ],
)
async def test_unknown_images_are_404(api: Api, name: str) -> None:
    for rest in ("", "/info.json", "/full/64,/0/default.png"):
        refused(await api.http.get(f"/iiif/3/{name}{rest}"), 404)


async def test_no_parameter_makes_it_fail(api: Api) -> None:
    rng = random.Random(1)
    signs = [
        "0",
        "1",
        "7",
        "65536",
        ",",
        "pct:",
        "^",
        "!",
        ".",
        "max",
        "full",
        "-",
        "e",
        "%",
        "٣",
        "99999999999",
        " ",
    ]

    def word() -> str:
        return "".join(rng.choices(signs, k=rng.randint(1, 7)))

    seen = set()
    for _ in range(1500):
        parts = ["full", "max", "0", "default.png"]
        parts[rng.randrange(4)] = word()
        try:
            iiif.read(*parts, FULL, LIMITS)  # type: ignore[arg-type]
            seen.add("read")
        except BadRequest:
            seen.add("refused")
    assert seen == {"read", "refused"}
