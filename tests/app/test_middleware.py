"""Bodies that are too large, too slow or broken off; what browsers are told; other sites' pages."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import ValidationError

from app.settings import AppSettings
from tests.app.conftest import Api, Start
from tests.app.test_auth import make
from tests.app.test_generate import refused
from tests.conftest import png, zip_of

JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "multipart/form-data; boundary=b"}
PART = b'--b\r\nContent-Disposition: form-data; name="file"; filename="x.zip"\r\n\r\n'


async def spoken(
    api: Api, path: str, headers: dict[str, str], *parts: bytes, then: str = "", method: str = "POST"
) -> tuple[int, dict[str, str], bytes, int]:
    """Status, headers and body of the answer, and how many parts were asked for.

    After the parts comes ``http.disconnect``, or with ``then`` "nothing" nothing at all.
    """
    messages: list[dict[str, Any]] = [
        {"type": "http.request", "body": part, "more_body": True} for part in parts
    ]
    sent: list[dict[str, Any]] = []
    asked = 0

    async def receive() -> dict[str, Any]:
        nonlocal asked
        asked += 1
        if messages:
            return messages.pop(0)
        if then == "nothing":
            await asyncio.Event().wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": b"",
        "root_path": "", "scheme": "http", "http_version": "1.1", "server": ("test", 80), "client": ("1", 1),
        "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()],
    }  # fmt: skip
    await api.app(scope, receive, send)
    told = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    body = b"".join(message.get("body", b"") for message in sent)
    return sent[0]["status"], told, body, asked


@pytest.mark.parametrize(("path", "headers"), [("/generate", JSON), ("/datasets", FORM)])
async def test_a_body_that_stops_is_told_in_time(start: Start, path: str, headers: dict[str, str]) -> None:
    api = await start(body_seconds=0.1)
    status, told, body, _ = await spoken(api, path, headers, PART, then="nothing")
    assert (status, told["content-type"], told["connection"]) == (408, "application/problem+json", "close")
    assert f"stopped after {len(PART)} bytes".encode() in body


async def test_a_body_that_trickles_is_not_waited_for(start: Start) -> None:
    api = await start(body_seconds=0.3)

    async def trickle() -> AsyncIterator[bytes]:
        for _ in range(100):
            await asyncio.sleep(0.02)
            yield b" "

    answer = await api.http.post("/generate", content=trickle(), headers=JSON)
    refused(answer, 408, "1024 bytes a second")


async def test_a_body_that_comes_in_time_may_come_in_parts(start: Start) -> None:
    api = await start(body_seconds=30)

    async def parts() -> AsyncIterator[bytes]:
        for part in (b'{"seed"', b": 1", b"}"):
            yield part
            await asyncio.sleep(0.01)

    assert (await api.http.post("/generate", content=parts(), headers=JSON)).status_code == 200


@pytest.mark.parametrize(("path", "headers"), [("/generate", JSON), ("/datasets", FORM)])
async def test_a_body_that_breaks_off_is_the_clients_fault(
    api: Api, path: str, headers: dict[str, str]
) -> None:
    status, told, body, _ = await spoken(api, path, headers | {"Content-Length": "5000"}, PART)
    assert (status, told["content-type"]) == (400, "application/problem+json")
    assert f"broke off after {len(PART)} bytes".encode() in body


@pytest.mark.parametrize("path", ["/generate", "/train", "/interpolate", "/datasets"])
@pytest.mark.parametrize("declared", [True, False])
async def test_a_body_over_the_limit_is_413(start: Start, path: str, declared: bool) -> None:
    api = await start(max_upload_bytes=100_000)
    headers = FORM if path == "/datasets" else JSON
    length = {"Content-Length": "400000"} if declared else {}
    status, told, body, asked = await spoken(api, path, headers | length, PART, *[b"x" * 50_000] * 8)
    assert (status, told["content-type"]) == (413, "application/problem+json")
    assert b"bytes: send less" in body
    assert asked == 0 if declared else asked < 8  # what is told to be too large is not read at all


@pytest.mark.parametrize("length", ["abc", "-1", "1.5", "", "\xb2", "9" * 30, "9" * 5000])
async def test_an_unreadable_content_length_is_400(api: Api, length: str) -> None:
    status, told, body, _ = await spoken(api, "/generate", JSON | {"Content-Length": length}, b"{}")
    assert (status, told["content-type"]) == (400, "application/problem+json")
    assert b"Content-Length" in body


async def test_without_a_key_an_upload_is_refused_before_it_is_read(start: Start, tmp_path: Path) -> None:
    make(tmp_path / "keys.json", "generate")
    api = await start(api_keys_file=tmp_path / "keys.json")
    status, _, _, asked = await spoken(api, "/datasets", FORM, PART)
    assert (status, asked) == (401, 0)


async def test_every_answer_tells_browsers_to_be_careful(api: Api) -> None:
    @api.app.get("/fails")
    def fails() -> None:
        raise RuntimeError

    for method, path, status in (
        ("GET", "/healthz", 200), ("GET", "/", 200), ("GET", "/docs", 200), ("GET", "/static/studio.js", 200),
        ("GET", "/nowhere", 404), ("POST", "/generate", 422), ("GET", "/images/default/1.png", 307),
        ("GET", "/fails", 500),
    ):  # fmt: skip
        answer = await api.http.request(method, path)
        assert answer.status_code == status
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        assert len(answer.headers["x-request-id"]) == 32


async def test_scripts_run_on_the_page_and_the_documents_alone(api: Api) -> None:
    async def policy(path: str) -> str:
        return str((await api.http.get(path)).headers["content-security-policy"])

    assert (await policy("/models")).startswith("default-src 'none'")
    assert "script-src" not in await policy("/nowhere")
    for page in ("/", "/docs"):
        assert (await policy(page)).startswith(
            "default-src 'self'; img-src 'self' blob: data:; base-uri 'none'"
        )
    assert (await policy("/images/default/1.png")).endswith("style-src 'unsafe-inline'")  # but no script


async def test_pictures_may_be_shown_elsewhere_and_nothing_else(api: Api) -> None:
    async def policy(path: str) -> str:
        return str((await api.http.get(path)).headers["cross-origin-resource-policy"])

    for path in ("/images/default/1.png", "/iiif/3/default:1/info.json"):
        assert await policy(path) == "cross-origin"
    for path in ("/models", "/", "/jobs"):
        assert await policy(path) == "same-origin"


async def test_pages_of_other_sites_call_the_api_if_they_are_named(start: Start, api: Api) -> None:
    named = await start(cors_origins="https://a.test, https://b.test:8443")
    origin = {"Origin": "https://b.test:8443"}
    asks = origin | {
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type",
    }
    answer = await named.http.options("/generate", headers=asks)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == origin["Origin"]
    assert "authorization" in answer.headers["access-control-allow-headers"]
    for path, status in (("/models", 200), ("/models/nobody", 404)):
        answer = await named.http.get(path, headers=origin)
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (
            status,
            origin["Origin"],
        )
        assert "X-Model" in answer.headers["access-control-expose-headers"]
    other = {"Origin": "https://evil.test"}
    assert "access-control-allow-origin" not in (await named.http.get("/models", headers=other)).headers
    refusal = await named.http.options("/generate", headers=asks | other)
    assert "access-control-allow-origin" not in refusal.headers
    assert (await named.http.get("/iiif/3/x", headers=other)).headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-origin" not in (await api.http.get("/models", headers=origin)).headers
    assert (await api.http.options("/generate", headers=asks)).status_code == 405


async def test_pages_of_other_sites_change_nothing(start: Start, api: Api) -> None:
    named = await start(cors_origins="https://a.test")
    forged = {"Origin": "https://a.test", "Sec-Fetch-Site": "cross-site"}
    files = {"file": ("x.zip", zip_of({"a.png": png()}))}

    async def upload(to: Api, name: str, **headers: str) -> httpx.Response:
        return await to.http.post("/datasets", data={"name": name}, files=files, headers=forged | headers)

    refused(await upload(api, "one"), 403, "other sites", "VITGAN_CORS_ORIGINS")
    refused(await upload(named, "one", Origin="https://b.test"), 403, "other sites")
    refused(await upload(api, "one", **{"Sec-Fetch-Site": "same-site"}), 403, "other sites")
    assert (await upload(named, "one")).status_code == 201
    assert (await upload(api, "two", **{"Sec-Fetch-Site": "same-origin"})).status_code == 201
    assert (await api.http.get("/models", headers=forged)).status_code == 200
    # What a form can send and is no upload is not read as JSON.
    for media in ("text/plain", "application/x-www-form-urlencoded", ""):
        refused(await api.http.post("/generate", content=b"{}", headers={"Content-Type": media}), 415)


@pytest.mark.parametrize(
    ("host", "headers", "foreign"),
    [
        ("here.test:8000", {}, False),  # a program
        ("here.test:8000", {"Origin": "http://here.test:8000"}, False),
        ("Here.test", {"Origin": "https://here.test"}, False),
        ("here.test:443", {"Origin": "https://here.test"}, False),
        ("[::1]:8000", {"Origin": "http://[::1]:8000"}, False),
        ("here.test:8000", {"Referer": "http://here.test:8000/docs"}, False),
        ("here.test:8000", {"Origin": "http://there.test:8000"}, True),
        ("here.test:8000", {"Origin": "http://here.test"}, True),
        ("here.test:8000", {"Origin": "null"}, True),
        ("here.test:8000", {"Origin": "http://[", "Referer": "http://here.test:8000/"}, True),
        ("here.test:8000", {"Referer": "http://there.test/page"}, True),
        ("here.test:8000", {"Referer": "http://here.test:8000.there.test/"}, True),
    ],
)
async def test_without_sec_fetch_site_the_origin_must_be_this_host(
    api: Api, host: str, headers: dict[str, str], foreign: bool
) -> None:
    for method, path in (("POST", "/generate"), ("DELETE", "/jobs/1"), ("POST", "/models/default/promote")):
        body = {"seed": 1} if path == "/generate" else None
        answer = await api.http.request(method, path, json=body, headers={"Host": host} | headers)
        assert (answer.status_code == 403) is foreign, answer.text
    assert (await api.http.get("/models", headers={"Host": host} | headers)).status_code == 200


def test_origins_are_given_with_commas_or_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    for text in ("https://a.test,http://b.test:1", '["https://a.test", "http://b.test:1"]'):
        monkeypatch.setenv("VITGAN_CORS_ORIGINS", text)
        assert AppSettings().cors_origins == ("https://a.test", "http://b.test:1")
    for wrong in ("a.test", "https://a.test/", "[1]", "[", '"https://a.test"', "https://a b"):
        monkeypatch.setenv("VITGAN_CORS_ORIGINS", wrong)
        with pytest.raises(ValidationError, match="cors_origins"):
            AppSettings()


async def test_keys_reach_iiif_from_other_sites(api: Api) -> None:
    told = await api.http.options("/iiif/3/default:1/info.json")
    assert "Authorization" in told.headers["access-control-allow-headers"]
