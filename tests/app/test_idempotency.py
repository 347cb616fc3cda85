"""The same Idempotency-Key and body: the same bytes, the same upload, the same job."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from redis import Redis

from app import idempotency
from app.idempotency import KEPT_SECONDS
from contract.messages import TrainRequest
from tests.app.conftest import Api, Start
from tests.app.test_generate import refused
from tests.conftest import png, zip_of

KEY = {"Idempotency-Key": "0d5cbd4e-6a0f-4a7e-9d3c-1f2a3b4c5d6e"}

JSON = {"Content-Type": "application/json"}


async def test_a_random_seed_is_drawn_once(api: Api) -> None:
    answers = [await api.http.post("/generate", json={"resolution": 8}, headers=KEY) for _ in range(3)]
    assert len({answer.content for answer in answers}) == 1
    assert len({answer.headers["x-seed"] for answer in answers}) == 1
    other = await api.http.post("/generate", json={"resolution": 8}, headers={"Idempotency-Key": "other"})
    assert other.headers["x-seed"] != answers[0].headers["x-seed"]


async def test_repeats_that_come_together_agree_too(api: Api) -> None:
    calls = [api.http.post("/generate", json={"resolution": 8}, headers=KEY) for _ in range(10)]
    assert len({answer.content for answer in await asyncio.gather(*calls)}) == 1


async def test_only_so_many_keys_of_a_client_are_kept(
    api: Api, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idempotency, "MOST_KEYS", 3)

    async def seed(key: str) -> str:
        answer = await api.http.post("/generate", json={"resolution": 8}, headers={"Idempotency-Key": key})
        return str(answer.headers["x-seed"])

    seeds = {key: await seed(key) for key in "abcdef"}
    kept = [key for key in redis.keys("vitgan:idempotency:*") if ":of:" not in key]  # type: ignore[union-attr]
    assert len(kept) == redis.zcard("vitgan:idempotency:of:anonymous") == 3
    assert [await seed(key) for key in "ef"] == [seeds["e"], seeds["f"]]
    assert 0 < redis.ttl("vitgan:idempotency:of:anonymous") <= KEPT_SECONDS


async def test_another_request_under_the_key_is_refused(api: Api) -> None:
    body = {"resolution": 8}
    first = await api.http.post("/generate", json=body, headers=KEY)
    again = await api.http.post("/generate", content=b'{ "resolution":8 }', headers=KEY | JSON)
    assert again.content == first.content  # spelled otherwise, it says the same
    refused(await api.http.post("/generate", json=body | {"seed": 1}, headers=KEY), 422, "Idempotency-Key")
    refused(await api.http.post("/interpolate", json={"seeds": [1, 2]}, headers=KEY), 422, "another request")
    as_job = await api.http.post("/generate", json=body, headers=KEY | {"Prefer": "respond-async"})
    refused(as_job, 422, "another request")


async def test_a_refused_request_may_come_again(start: Start) -> None:
    api = await start(alive=False)
    refused(await api.http.post("/generate", json={}, headers=KEY), 503)
    api.painter.come_alive()
    api.services.fleet.look()
    assert (await api.http.post("/generate", json={}, headers=KEY)).status_code == 200
    refused(
        await api.http.post("/generate", json={"seed": -1}, headers={"Idempotency-Key": "n"}), 422, "seed"
    )
    fixed = await api.http.post("/generate", json={"seed": 1}, headers={"Idempotency-Key": "n"})
    assert fixed.status_code == 200  # what was never valid has settled nothing


async def test_a_model_replaced_meanwhile_is_told(api: Api, models_dir: Path) -> None:
    await api.http.post("/generate", json={}, headers=KEY)
    (models_dir / "personas" / "model.safetensors").write_bytes(b"other weights")
    refused(await api.http.post("/generate", json={}, headers=KEY), 409, "replaced", "new key")


@pytest.mark.parametrize("key", ["", "a b", "x" * 256, "\x7f"])
async def test_what_is_no_key_is_told(api: Api, key: str) -> None:
    refused(await api.http.post("/generate", json={}, headers={"Idempotency-Key": key}), 400, "1 to 255")


async def test_keys_are_kept_for_a_day(api: Api, redis: Redis) -> None:
    await api.http.post("/generate", json={}, headers=KEY)
    kept = next(redis.scan_iter("vitgan:idempotency:anonymous:*"))
    assert 0 < redis.ttl(kept) <= KEPT_SECONDS
    assert KEY["Idempotency-Key"] not in kept


async def test_an_upload_that_comes_again_is_the_same_dataset(api: Api) -> None:
    pictures = zip_of({f"{n}.png": png((n, 0, 0)) for n in range(40)})

    async def upload(data: bytes = pictures, key: str = "k", name: str = "reds") -> object:
        files = {"file": ("a.zip", data)}
        return await api.http.post(
            "/datasets", files=files, data={"name": name}, headers={"Idempotency-Key": key}
        )

    together = await asyncio.gather(upload(), upload(), upload())
    assert [answer.status_code for answer in together] == [201] * 3  # type: ignore[attr-defined]
    assert len({answer.text for answer in together}) == 1  # type: ignore[attr-defined]
    assert "upload" not in together[0].json()  # type: ignore[attr-defined]
    refused(await upload(key="l"), 409, "reds")  # type: ignore[arg-type]
    refused(await upload(data=zip_of({"a.png": png()})), 422, "another request")  # type: ignore[arg-type]


async def test_a_training_that_is_asked_for_again_is_the_same_job(api: Api) -> None:
    await api.http.post(
        "/datasets", files={"file": ("a.zip", zip_of({f"{n}.png": png((n, 0, 0)) for n in range(40)}))},
        data={"name": "reds"},
    )  # fmt: skip
    body = {"dataset": "reds", "name": "mine", "kimg": 1}
    answers = await asyncio.gather(*(api.http.post("/train", json=body, headers=KEY) for _ in range(5)))
    assert [answer.status_code for answer in answers] == [202] * 5
    (job_id,) = {answer.json()["id"] for answer in answers}
    store = api.services.jobs
    claim = store.claim(job_id, TrainRequest)
    assert claim is not None
    store.succeed(claim, {"model": "mine"})
    (api.services.settings.trained_models_dir / "mine").mkdir(parents=True)
    done = await api.http.post("/train", json=body, headers=KEY)
    assert (done.json()["id"], done.json()["status"]) == (job_id, "succeeded")
    refused(await api.http.post("/train", json=body | {"kimg": 2}, headers=KEY), 422, "another request")


async def test_a_drawing_that_is_asked_for_again_is_the_same_job(api: Api, models_dir: Path) -> None:
    headers = KEY | {"Prefer": "respond-async"}
    first = await api.http.post("/generate", json={"seeds": "0-9"}, headers=headers)
    (models_dir / "personas" / "model.safetensors").write_bytes(b"other weights")
    again = await api.http.post("/generate", json={"seeds": "0-9"}, headers=headers)
    assert again.json()["id"] == first.json()["id"]
    assert len(api.services.jobs.list(10)) == 1
