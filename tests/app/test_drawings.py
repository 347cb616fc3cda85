"""Prefer: respond-async."""

from __future__ import annotations

from typing import Any

import pytest

from contract import job_machine
from contract.jobs import JobStore
from contract.messages import DrawRequest
from contract.queue import DRAW_TASK
from tests.app.conftest import Api, Start
from tests.app.test_generate import refused

ASYNC = {"Prefer": "respond-async"}


@pytest.fixture
async def api(start: Start, monkeypatch: pytest.MonkeyPatch) -> Api:
    api = await start(alive=False)  # nobody needs to draw now
    rings: list[Any] = []
    monkeypatch.setattr(api.services.celery, "send_task", lambda *told, **_: rings.append(told))
    api.app.state.rings = rings
    return api


def finish(api: Api, job_id: str, data: bytes, suffix: str) -> None:
    """What a worker does."""
    claim = api.services.jobs.claim(job_id, DrawRequest)
    assert claim is not None
    api.services.settings.results_dir.mkdir(parents=True, exist_ok=True)
    (api.services.settings.results_dir / f"{job_id}.{suffix}").write_bytes(data)
    api.services.jobs.succeed(
        claim, {"media_type": "told by the request", "bytes": len(data), "model": "m@1"}
    )


@pytest.mark.parametrize(
    ("route", "body", "media_type", "suffix"),
    [
        ("/generate", {"seed": 7, "resolution": 64, "region": [0, 0, 8, 9]}, "image/png", "png"),
        ("/generate", {"seed": 7, "format": "jpeg"}, "image/jpeg", "jpg"),
        ("/generate", {"seeds": "0-9999"}, "application/zip", "zip"),
        ("/generate", {"seeds": "0-9", "layout": "grid"}, "image/png", "png"),
        ("/interpolate", {"seeds": [1, 2], "format": "webp", "frames": 9}, "image/webp", "webp"),
    ],
)
async def test_a_job_and_its_file(api: Api, route: str, body: Any, media_type: str, suffix: str) -> None:
    answer = await api.http.post(route, json=body, headers=ASYNC)
    assert answer.status_code == 202, answer.text
    job = answer.json()
    assert answer.headers["location"] == f"/jobs/{job['id']}"
    assert answer.headers["preference-applied"] == "respond-async"
    assert (job["kind"], job["status"], job["position"]) == ("draw", "queued", 0)
    assert api.app.state.rings == [(DRAW_TASK, (job["id"],))]
    where = f"/jobs/{job['id']}/result"
    refused(await api.http.get(where), 409, "queued")

    finish(api, job["id"], b"the file", suffix)
    fetched = await api.http.get(where)
    assert (fetched.status_code, fetched.content) == (200, b"the file")
    assert fetched.headers["content-type"] == media_type
    assert fetched.headers["x-model"] == "m@1"
    assert (await api.http.head(where)).headers["content-length"] == "8"
    api.services.settings.results_dir.joinpath(f"{job['id']}.{suffix}").unlink()
    refused(await api.http.get(where), 404, "no longer kept")


async def test_a_random_seed_is_told_by_the_job(api: Api) -> None:
    jobs = [(await api.http.post("/generate", json={}, headers=ASYNC)).json() for _ in range(2)]
    seeds = [job["request"]["seed"] for job in jobs]
    assert seeds[0] != seeds[1]


@pytest.mark.parametrize(
    ("route", "body", "told"),
    [
        ("/generate", {"seed": 7}, {"resolution": [256, 256], "truncation": 1, "format": "png"}),
        ("/generate", {"seed": 7, "resolution": 64, "region": [1, 2, 8, 9], "format": "webp"}, {}),
        ("/generate", {"seeds": "0-9999", "truncation": 0.5}, {}),
        ("/generate", {"seeds": "3,1,7-9", "layout": "grid", "across": 2}, {}),
        ("/interpolate", {"seeds": "5,1-3", "frames": 9, "fps": 5, "loop": False, "space": "w"}, {}),
    ],
)
async def test_a_job_tells_what_was_asked_so_that_it_can_be_asked_again(
    api: Api, route: str, body: dict[str, Any], told: dict[str, Any]
) -> None:
    job = (await api.http.post(route, json=body, headers=ASYNC)).json()
    asked = job["request"]
    resolution = body.get("resolution", 256)
    expected = body | told | {"resolution": resolution if isinstance(resolution, list) else [resolution] * 2}
    assert {name: asked[name] for name in expected} == expected
    assert not {"what", "bytes_version", "request_id", "trace", "digest"} & set(asked)
    again = await api.http.post(route, json=asked, headers=ASYNC)
    assert again.status_code == 202, again.text
    assert again.json()["request"] == asked
    records = [api.services.jobs.get(one["id"]).request["what"] for one in (job, again.json())]
    assert records[0] == records[1]


@pytest.mark.parametrize("prefer", ["wait=5, respond-async", "Respond-Async; x=1"])
async def test_the_preference_may_be_one_of_several(api: Api, prefer: str) -> None:
    assert (await api.http.post("/generate", json={}, headers={"Prefer": prefer})).status_code == 202


async def test_without_it_the_client_waits(start: Start) -> None:
    api = await start()
    answer = await api.http.post("/generate", json={}, headers={"Prefer": "return=minimal"})
    assert answer.status_code == 200


async def test_what_is_wrong_is_told_before_it_is_a_job(api: Api) -> None:
    for body in ({"resolution": 70_000}, {"seeds": "0-10000"}, {"model": "nobody"}):
        answer = await api.http.post("/generate", json=body, headers=ASYNC)
        assert answer.status_code in (404, 422)
    assert (await api.http.get("/jobs")).json()["items"] == []


async def test_a_cancelled_or_unknown_job_has_no_file(api: Api) -> None:
    job = (await api.http.post("/generate", json={}, headers=ASYNC)).json()
    await api.http.delete(f"/jobs/{job['id']}")
    refused(await api.http.get(f"/jobs/{job['id']}/result"), 409, "cancelled")
    refused(await api.http.get("/jobs/nobody/result"), 404)


async def test_trainings_and_drawings_wait_in_lines_of_their_own(api: Api) -> None:
    store: JobStore = api.services.jobs
    job = (await api.http.post("/generate", json={}, headers=ASYNC)).json()
    second = (await api.http.post("/generate", json={}, headers=ASYNC)).json()
    assert (store.get(job["id"]).position, store.get(second["id"]).position) == (0, 1)


async def test_a_key_whose_jobs_take_too_much_room_is_told(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_machine, "MOST_BYTES", 2.5 * job_machine.RECORD_BYTES)
    answers = [await api.http.post("/generate", json={}, headers=ASYNC) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [202, 202, 429]
    refused(answers[-1], 429, "MiB", "cancel")
    assert answers[-1].headers["retry-after"]
