from __future__ import annotations

from pathlib import Path

import pytest

from tests.app.conftest import Api, Start
from tests.app.test_generate import refused


def digest_url(api: Api, rest: str = "42.png", digits: int = 12) -> str:
    return f"/images/personas@{api.services.model('default').digest[:digits]}/{rest}"


async def test_a_digest_url_is_the_image_for_ever(api: Api) -> None:
    url = digest_url(api) + "?resolution=333x200&truncation=0.5"
    answer = await api.http.get(url)
    assert answer.content == b"42 333x200 0.5"
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    posted = await api.http.post("/generate", json={"seed": 42, "resolution": [333, 200], "truncation": 0.5})
    assert answer.headers["etag"] == posted.headers["etag"]
    assert (await api.http.get(digest_url(api, digits=64))).status_code == 200


@pytest.mark.parametrize("name", ["personas", "default"])
async def test_a_name_is_redirected_to_its_digest_now(api: Api, name: str) -> None:
    answer = await api.http.get(f"/images/{name}/7.webp?resolution=64&region=0,0,8,9")
    assert answer.status_code == 307
    assert answer.headers["location"] == digest_url(api, "7.webp") + "?resolution=64&region=0,0,8,9"
    assert answer.headers["cache-control"] == "no-cache"
    assert api.painter.batches == []


async def test_what_the_client_has_is_not_drawn_again(start: Start) -> None:
    api = await start(alive=False)  # no worker is needed to say so
    etag = (await api.http.head(digest_url(api))).headers["etag"]
    for given in (etag, f'"other", {etag}', f"W/{etag}", "*"):
        answer = await api.http.get(digest_url(api), headers={"If-None-Match": given})
        assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", etag)
        assert "immutable" in answer.headers["cache-control"]
    answer = await api.http.get(digest_url(api), headers={"If-None-Match": '"other"'})
    refused(answer, 503, "no image worker")
    assert api.painter.batches == []


async def test_head_tells_all_and_draws_nothing(api: Api) -> None:
    told = await api.http.head(digest_url(api, "7.jpg"))
    assert (told.status_code, told.content) == (200, b"")
    assert api.painter.batches == []
    drawn = await api.http.get(digest_url(api, "7.jpg"))
    for header in ("etag", "x-seed", "x-model", "content-type", "cache-control"):
        assert told.headers[header] == drawn.headers[header]
    assert told.headers["content-type"] == "image/jpeg"


async def test_promotion_never_serves_the_old_picture(api: Api, models_dir: Path) -> None:
    old = digest_url(api)
    (models_dir / "personas" / "model.safetensors").write_bytes(b"other weights")
    assert digest_url(api) != old
    refused(await api.http.get(old), 404, "is", "now, not")
    assert (await api.http.get("/images/default/42.png")).headers["location"] == digest_url(api)


@pytest.mark.parametrize(
    ("rest", "words"),
    [
        ("4294967296.png", ("seed", "4294967295")),
        ("-1.png", ("seed",)),
        ("x.png", ("seed", "'x'")),
        ("1.gif", ("png", "webp", "jpg")),
        ("1.png?resolution=0", ("resolution", "1 to 65536")),
        ("1.png?resolution=64x", ("resolution", "512 or 333x200")),
        ("1.png?resolution=64&region=0,0,65,1", ("region", "64x64")),
        ("1.png?region=0,0,1", ("region", "x,y,width,height")),
        ("1.png?truncation=2", ("truncation", "1")),
        ("1.png?sead=2", ("sead", "unknown field")),
        ("1.webp?resolution=16384x10", ("WebP", "16383")),
    ],
)
async def test_a_wrong_url_is_told(api: Api, rest: str, words: tuple[str, ...]) -> None:
    refused(await api.http.get(digest_url(api, rest)), 422, *words)
    assert api.painter.batches == []


@pytest.mark.parametrize("model", ["nobody", "personas@abc", "personas@" + "0" * 12, "PERSONAS"])
async def test_an_unknown_model_is_404(api: Api, model: str) -> None:
    refused(await api.http.get(f"/images/{model}/1.png"), 404, "model")
