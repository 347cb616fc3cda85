"""Who may do what: keys, scopes, and that a key is told to nobody."""

from __future__ import annotations

import asyncio
import logging
import re
import resource
from collections.abc import Iterable
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute

from app.auth import ANONYMOUS, Client, KeyRing
from app.key_file import Scope, editing, new_key
from app.main import create_app
from app.settings import AppSettings
from tests.app.conftest import Api, Start
from tests.app.test_generate import refused

OPEN = {"/", "/docs", "/redoc", "/openapi.json", "/healthz", "/readyz", "/metrics"}
ROUTES = [
    ("POST", "/generate", "generate"),
    ("POST", "/interpolate", "generate"),
    ("GET", "/images/default/1.png", "generate"),
    ("HEAD", "/images/default/1.png", "generate"),
    ("GET", "/iiif/3/default:1", "generate"),
    ("GET", "/iiif/3/default:1/info.json", "generate"),
    ("GET", "/iiif/3/default:1/full/64,/0/default.png", "generate"),
    ("GET", "/iiif/presentation/3/default:1/manifest.json", "generate"),
    ("POST", "/datasets", "train"),
    ("GET", "/datasets", "train"),
    ("GET", "/datasets/cats", "train"),
    ("POST", "/train", "train"),
    ("GET", "/models", ""),
    ("GET", "/models/default", ""),
    ("POST", "/models/default/promote", "admin"),
    ("GET", "/jobs", ""),
    ("GET", "/jobs/1", ""),
    ("GET", "/jobs/1/result", ""),
    ("GET", "/jobs/1/events", ""),
    ("DELETE", "/jobs/1", ""),
    ("GET", "/webhooks/dead", ""),
]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "keys.json"
    with editing(path):
        pass
    return path


def make(file: Path, *scopes: str) -> str:
    """A new key of those scopes."""
    key, kept = new_key("test", scopes)
    with editing(file) as keys:
        keys.append(kept)
    return key


@pytest.fixture
async def closed(start: Start, file: Path) -> Api:
    """The API with keys on."""
    return await start(api_keys_file=file)


async def ask(api: Api, key: str | None, method: str = "GET", path: str = "/models") -> httpx.Response:
    headers = {"Authorization": f"Bearer {key}"} if key is not None else {}
    body = {"seeds": [1, 2]} if path == "/interpolate" else {} if method == "POST" else None
    return await api.http.request(method, path, headers=headers, json=body)


def routes(app: FastAPI) -> Iterable[tuple[str, str]]:
    """Every method and path of ours, with something in the place of parameters."""
    for router in app.routes:
        for route in getattr(getattr(router, "original_router", None), "routes", [router]):
            if isinstance(route, APIRoute):
                path = re.sub(r"\{suffix\}", "png", route.path)
                yield from ((method, re.sub(r"\{[^}]*\}", "x", path)) for method in route.methods)


async def test_what_is_not_open_asks_for_a_key(closed: Api) -> None:
    asked = [
        (method, path) for method, path in routes(closed.app) if path not in OPEN and method != "OPTIONS"
    ]
    assert len(asked) >= len(ROUTES)
    for method, path in asked:
        answer = await ask(closed, None, method, path)
        assert answer.status_code == 401, (method, path)
        assert answer.headers["www-authenticate"] == "Bearer"
    refused(await ask(closed, None), 401, "Authorization: Bearer", "X-API-Key")


async def test_what_is_open_asks_for_none(closed: Api) -> None:
    for path in OPEN | {"/static/studio.js"}:
        assert (await ask(closed, None, path=path)).status_code == (307 if path == "/redoc" else 200), path
    assert (await closed.http.options("/iiif/3/default:1/info.json")).status_code == 204


@pytest.mark.parametrize(("method", "path", "scope"), ROUTES)
async def test_a_scope_opens_its_routes_and_no_others(
    closed: Api, file: Path, method: str, path: str, scope: str
) -> None:
    for given in Scope:
        answer = await ask(closed, make(file, given), method, path)
        if scope in ("", given) or given is Scope.ADMIN:
            assert answer.status_code not in (401, 403, 500), answer.text
        elif method == "HEAD":
            assert answer.status_code == 403
        else:
            refused(answer, 403, f"`{scope}`")


async def test_a_key_is_taken_from_either_header(closed: Api, file: Path) -> None:
    key = make(file, "generate")
    for headers in (
        {"Authorization": f"Bearer {key}"},
        {"Authorization": f"bearer {key}"},
        {"X-API-Key": key},
        {"X-API-Key": key, "Authorization": "Basic dTpw"},  # for a proxy on the way
    ):
        assert (await closed.http.get("/models", headers=headers)).status_code == 200
    assert (await closed.http.get(f"/models?api_key={key}")).status_code == 401


async def test_what_is_nearly_a_key_is_none(closed: Api, file: Path) -> None:
    one, other = make(file, "admin"), make(file, "admin")
    swapped = one[:12] + other[12:]
    unknown = "vg_00000000" + one[11:]
    last = one[:-1] + ("A" if one[-1] != "A" else "B")
    for wrong in (swapped, unknown, last, one[:-1], one + "A", one.upper(), one[3:], "vg_", "\xe9" * 55):
        headers = {"X-API-Key": wrong.encode("latin-1")}
        refused(await closed.http.get("/models", headers=headers), 401, "not known")
    refused(await closed.http.get("/models", headers={"Authorization": f"Basic {one}"}), 401, "is needed")


async def test_keys_come_and_go_while_the_service_runs(closed: Api, file: Path) -> None:
    key, other = make(file, "train"), make(file, "train")
    assert (await ask(closed, key)).status_code == 200
    with editing(file) as keys:
        del keys[0]
    assert (await ask(closed, key)).status_code == 401
    assert (await ask(closed, other)).status_code == 200


async def test_a_file_that_breaks_changes_nothing_and_is_logged_once(
    closed: Api, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    key, whole = make(file, "train"), file.read_text()
    assert (await ask(closed, key)).status_code == 200
    for broken in (whole[:-30], '{"keys": [{"id": "secret?"}]}', '{"keys": [], "more": 1}', None):
        caplog.clear()
        file.unlink() if broken is None else file.write_text(broken)
        for _ in range(3):
            assert (await ask(closed, key)).status_code == 200
            assert (await ask(closed, None)).status_code == 401
        (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
        assert "stay valid" in record.message
        assert "secret?" not in record.message
    file.write_text('{"keys": []}')
    assert (await ask(closed, key)).status_code == 401


def test_a_revoked_key_ends_although_its_file_could_not_be_read_once(file: Path) -> None:
    """As happens to a process that has all the files open that it may have."""
    key, ring = make(file, "train"), KeyRing(file)
    assert ring.client(key) is not None
    with editing(file) as keys:
        keys.clear()
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, before[1]))
    try:
        assert ring.client(key) is not None  # nothing else is known
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert ring.client(key) is None


def test_without_a_good_file_it_does_not_start(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    with pytest.raises(ValueError, match="keys create"):
        create_app(AppSettings(api_keys_file=path))
    path.write_text("[]")
    with pytest.raises(ValueError, match="no file of API keys"):
        create_app(AppSettings(api_keys_file=path))
    assert AppSettings(api_keys_file="").api_keys_file is None


def test_a_ring_tells_whose_key_it_is(file: Path) -> None:
    key, kept = new_key("lab", ("generate", "train"), max_waiting=5, max_jobs=2)
    with editing(file) as keys:
        keys.append(kept)
    scopes = frozenset({Scope.GENERATE, Scope.TRAIN})
    client = KeyRing(file).client(key)
    assert client == Client(kept.id, "lab", scopes, max_waiting=5, max_jobs=2)
    assert not client.may(Scope.ADMIN)
    assert all(ANONYMOUS.may(scope) for scope in Scope)


async def test_each_key_has_its_bounds(start: Start, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    api = await start(api_keys_file=file, answer_seconds=2)
    api.painter.answer = lambda batch: []
    monkeypatch.setattr(api.services.celery, "send_task", lambda *_, **__: None)  # nobody needs to draw
    given = [new_key(name, ["generate"], max_waiting=1, max_jobs=1) for name in ("a", "b")]
    with editing(file) as keys:
        keys += [kept for _, kept in given]

    async def draw(key: str, **headers: str) -> httpx.Response:
        return await api.http.post("/generate", json={}, headers={"X-API-Key": key} | headers)

    for asked in ({}, {"Prefer": "respond-async"}):
        answers = await asyncio.gather(*(draw(key, **asked) for key, _ in given for _ in range(3)))
        statuses = [answer.status_code for answer in answers]
        assert [statuses[:3].count(429), statuses[3:].count(429)] == [2, 2]


async def test_the_key_is_in_no_answer_and_no_log(
    closed: Api, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    key = make(file, "train")
    secret, unknown = key.rpartition("_")[2], "vg_00000000_" + "S" * 43
    object.__setattr__(closed.services, "coalescer", None)  # fails with a traceback
    answers = [
        await ask(closed, given, *rest)
        for given in (key, unknown)
        for rest in (("GET",), ("POST", "/generate"))
    ]
    answers.append(await ask(closed, make(file, "admin"), "POST", "/generate"))
    assert {answer.status_code for answer in answers} == {200, 401, 403, 500}
    assert "Traceback" in caplog.text
    said = caplog.text + "".join(answer.text + str(answer.headers) for answer in answers)
    assert secret not in said
    assert "S" * 43 not in said


async def test_the_documents_show_both_schemes(closed: Api) -> None:
    told = (await closed.http.get("/openapi.json")).json()
    schemes = told["components"]["securitySchemes"]
    assert (schemes["bearer"]["type"], schemes["bearer"]["scheme"]) == ("http", "bearer")
    assert (schemes["header"]["type"], schemes["header"]["name"]) == ("apiKey", "X-API-Key")
    assert told["paths"]["/generate"]["post"]["security"] == [{"bearer": []}, {"header": []}]
    assert {"401", "403"} <= set(told["paths"]["/generate"]["post"]["responses"])
    assert "security" not in told["paths"]["/healthz"]["get"]


async def test_what_a_key_opened_stays_out_of_shared_caches(closed: Api, api: Api, file: Path) -> None:
    url = f"/images/personas@{api.services.model('default').digest[:12]}/1.png"
    key = make(file, "generate")
    assert (await api.http.get(url)).headers["cache-control"] == "public, max-age=31536000, immutable"
    assert (await ask(closed, key, path=url)).headers[
        "cache-control"
    ] == "private, max-age=31536000, immutable"
    assert (await ask(closed, key)).headers["cache-control"] == "private, no-cache"
