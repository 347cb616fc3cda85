from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from contract import keys
from tests.app.conftest import Api
from tests.app.test_datasets import upload
from tests.app.test_generate import refused
from tests.conftest import png, zip_of

BODY = {"dataset": "cats", "preset": "vitgan-ti-32", "name": "my-cats", "kimg": 1}


@pytest.fixture
async def api(api: Api) -> Api:
    """With a dataset to train on."""
    pictures = {f"{index}.png": png((index, 0, 0)) for index in range(32)}
    assert (await upload(api, zip_of(pictures))).status_code == 201  # type: ignore[attr-defined]
    return api


@pytest.mark.parametrize(
    ("pictures", "different"),
    [
        ({f"{index}.png": png((index, 0, 0)) for index in range(5)}, 5),
        (dict.fromkeys("abcdefgh" * 5, png()), 1),
    ],
)
async def test_too_few_pictures_that_differ_are_refused_before_a_job_is_made(
    api: Api, pictures: dict[str, bytes], different: int
) -> None:
    equal = {f"{index}{name}": data for index, (name, data) in enumerate(pictures.items())}
    labels = {"dataset.json": b'{"labels": null}'}
    assert (await upload(api, zip_of(equal | labels), "few")).status_code == 201  # type: ignore[attr-defined]
    answer = await api.http.post("/train", json=BODY | {"dataset": "few"})
    refused(answer, 422, f"holds {different} different pictures", "32 are the least")
    assert (await api.http.get("/jobs")).json()["items"] == []


async def test_a_training_is_queued_and_rung_for(api: Api, redis: Redis) -> None:
    answer = await api.http.post("/train", json=BODY)
    assert answer.status_code == 202
    job = answer.json()
    assert answer.headers["location"] == f"/jobs/{job['id']}"
    assert (job["status"], job["kind"], job["position"], job["attempts"]) == ("queued", "train", 0, 0)
    assert job["request"] == BODY | {"seed": 0}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", job["created_at"])
    assert (await api.http.get(answer.headers["location"])).json() == job
    assert redis.llen(keys.of_version("train")) == 1
    assert job["id"] in str(redis.lindex(keys.of_version("train"), 0))


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"dataset": "nobody"}, "dataset"),
        ({"dataset": "../cats"}, "dataset"),
        ({"preset": "vitgan-xxl"}, "vitgan-ti-32"),
        ({"kimg": 0}, "kimg"),
        ({"kimg": 1e9}, "kimg"),
        ({"kimg": "much"}, "kimg"),
        ({"name": "../x"}, "name"),
        ({"name": None}, "name"),
        ({"seed": -1}, "seed"),
        ({"epochs": 3}, "epochs"),
    ],
)
async def test_a_wrong_field_is_told(api: Api, redis: Redis, change: dict[str, Any], word: str) -> None:
    refused(await api.http.post("/train", json=BODY | change), 422, word)
    assert redis.llen(keys.of_version("train")) == 0
    assert (await api.http.get("/jobs")).json()["items"] == []


@pytest.mark.parametrize("name", ["personas", "default"])
async def test_a_models_name_in_use_is_409(api: Api, name: str) -> None:
    refused(await api.http.post("/train", json=BODY | {"name": name}), 409, name)


async def test_a_name_that_a_training_makes_is_409_until_it_ends(api: Api) -> None:
    first = (await api.http.post("/train", json=BODY)).json()
    refused(await api.http.post("/train", json=BODY), 409, "my-cats")
    cancelled = await api.http.delete(f"/jobs/{first['id']}")
    assert (cancelled.status_code, cancelled.json()["status"]) == (202, "cancelled")
    assert (await api.http.post("/train", json=BODY)).status_code == 202


async def test_a_finished_job_cannot_be_cancelled(api: Api) -> None:
    job = (await api.http.post("/train", json=BODY)).json()
    await api.http.delete(f"/jobs/{job['id']}")
    refused(await api.http.delete(f"/jobs/{job['id']}"), 409, "ended")


@pytest.mark.parametrize("path", ["nobody", "..%2fx", "0" * 32])
async def test_unknown_jobs_are_404(api: Api, path: str) -> None:
    refused(await api.http.get(f"/jobs/{path}"), 404)
    refused(await api.http.delete(f"/jobs/{path}"), 404)


async def test_jobs_are_listed_newest_first_in_pages(api: Api) -> None:
    ids = [(await api.http.post("/train", json=BODY | {"name": f"m{i}"})).json()["id"] for i in range(3)]
    first = (await api.http.get("/jobs", params={"limit": 2})).json()
    assert [job["id"] for job in first["items"]] == [ids[2], ids[1]]
    rest = (await api.http.get("/jobs", params={"cursor": first["next_cursor"]})).json()
    assert ([job["id"] for job in rest["items"]], rest["next_cursor"]) == ([ids[0]], None)
    refused(await api.http.get("/jobs", params={"cursor": "nobody"}), 422, "cursor")
    refused(await api.http.get("/jobs", params={"limit": 0}), 422, "limit")


async def test_models_are_listed_and_default_is_one(api: Api, models_dir: Path) -> None:
    listed = (await api.http.get("/models")).json()
    assert [model["name"] for model in listed["items"]] == ["personas"]
    assert (await api.http.get("/models/default")).json() == listed["items"][0]
    for name in ("nobody", "..%2fpersonas"):
        refused(await api.http.get(f"/models/{name}"), 404)
