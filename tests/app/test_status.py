from __future__ import annotations

from redis import Redis

from app.schemas import GenerateBody, TrainBody
from contract import keys
from contract.versions import TOGETHER
from tests.app.conftest import Api, Start
from tests.app.test_generate import refused


async def test_alive_and_ready(api: Api) -> None:
    assert (await api.http.get("/healthz")).json() == {"status": "alive"}
    ready = await api.http.get("/readyz")
    assert ready.status_code == 200
    assert ready.json() == {
        "status": "ready", "missing": [], "redis": True, "image_workers": 1, "training_workers": 0,
        "arithmetic": {"portable": 1}, "version": TOGETHER, "other_versions": [], "skipped_models": [],
        "disk": {"writable": True, "problem": None},
    }  # fmt: skip


async def test_readyz_says_what_is_missing(start: Start) -> None:
    api = await start(alive=False)
    answer = await api.http.get("/readyz")
    assert (answer.status_code, answer.json()["redis"]) == (503, True)
    assert "image worker" in answer.json()["missing"][0]
    for away in ("redis_url", "bytes_redis_url"):
        api = await start(alive=False, **{away: "redis://127.0.0.1:1/0"})
        answer = await api.http.get("/readyz")
        assert (answer.status_code, answer.json()["redis"]) == (503, False)
        assert "Redis does not answer" in answer.json()["missing"][0]


async def test_what_redis_says_is_passed_on(start: Start, valkey_url: str) -> None:
    api = await start(alive=False, redis_url=valkey_url.replace("/0", "/99"))
    answers = [
        await api.http.get("/readyz"),
        await api.http.get("/jobs"),
        await api.http.post("/generate", json={}),
    ]
    for answer in answers:
        assert answer.status_code == 503
        assert "Redis refuses this service (DB index is out of range)" in answer.text


async def test_workers_of_another_version_are_told_and_not_asked(start: Start, redis: Redis) -> None:
    now = redis.time()[0]
    redis.zadd(keys.VERSIONS, {"train:1.2": now, keys.of_version("generate"): now - 60})
    api = await start(alive=False)
    told = (await api.http.get("/readyz")).json()
    assert told["other_versions"] == ["train:1.2"]
    assert "start one with `vitgan worker`" in told["missing"][0]
    redis.zadd(keys.VERSIONS, {"generate:1.2": now})
    answer = await api.http.get("/readyz")
    assert answer.json()["other_versions"] == ["generate:1.2", "train:1.2"]
    refused(
        await api.http.post("/generate", json={}), 503, f"of version {TOGETHER}", "generate:1.2", "release"
    )
    api.painter.come_alive()
    assert (await api.http.get("/readyz")).json()["missing"] == []


async def test_the_page_and_its_parts_are_served_from_here(api: Api) -> None:
    page = await api.http.get("/")
    assert page.status_code == 200
    assert "default-src 'self'" in page.headers["content-security-policy"]
    assert "http://" not in page.text.replace("http://www.w3.org", "")
    assert "https://" not in page.text
    for asset in ("studio.css", "studio.js"):
        assert f'"static/{asset}"' in page.text
        assert (await api.http.get(f"/static/{asset}")).status_code == 200


async def test_unknown_routes_and_methods_are_problems_too(api: Api) -> None:
    refused(await api.http.get("/nowhere"), 404, "/nowhere", "/docs")
    answer = await api.http.get("/generate")
    refused(answer, 405, "GET")
    assert answer.headers["allow"] == "POST"


async def test_the_examples_of_the_docs_are_valid(api: Api) -> None:
    schemas = (await api.http.get("/openapi.json")).json()["components"]["schemas"]
    for body in (GenerateBody, TrainBody):
        examples = schemas[body.__name__]["examples"]
        assert examples
        for example in examples:
            body.model_validate(example)
