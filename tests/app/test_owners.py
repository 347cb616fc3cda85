"""Whose jobs a client sees. Nobody is asked who they are yet, so the tests say it for them."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from contract.jobs import JobStatus
from contract.messages import DrawRequest
from tests.app.conftest import Api, Start
from tests.app.test_generate import refused

ASYNC = {"Prefer": "respond-async"}
ALICE, BOB, ADMIN = {"Test-Client": "alice"}, {"Test-Client": "bob"}, {"Test-Client": "root admin"}


@dataclass(frozen=True)
class Client:
    id: str
    scopes: frozenset[str]
    max_waiting: int | None
    max_jobs: int | None


class Known:
    """Takes the client's word for who they are."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (words := Headers(scope=scope).get("test-client", "").split()):
            scope.setdefault("state", {})["client"] = Client(words[0], frozenset(words[1:]), None, None)
        await self.app(scope, receive, send)


@pytest.fixture
async def api(start: Start, monkeypatch: pytest.MonkeyPatch) -> Api:
    api = await start(alive=False)
    api.app.add_middleware(Known)
    monkeypatch.setattr(api.services.celery, "send_task", lambda *_: None)  # nobody needs to draw
    return api


async def draw(api: Api, who: dict[str, str]) -> str:
    answer = await api.http.post("/generate", json={"seed": 1}, headers=ASYNC | who)
    assert answer.status_code == 202, answer.text
    assert not {"owner", "webhook"} & set(answer.json())
    return str(answer.json()["id"])


async def test_a_job_belongs_to_whoever_asked(api: Api) -> None:
    jobs = api.services.jobs
    assert jobs.get(await draw(api, ALICE)).owner == "alice"
    assert jobs.get(await draw(api, {})).owner == "anonymous"


@pytest.mark.parametrize("who", [ALICE, ADMIN, {}])
async def test_its_owner_an_admin_and_a_house_without_keys_see_a_job(api: Api, who: dict[str, str]) -> None:
    job_id = await draw(api, ALICE)
    assert (await api.http.get(f"/jobs/{job_id}", headers=who)).status_code == 200
    refused(await api.http.get(f"/jobs/{job_id}/result", headers=who), 409)
    assert (await api.http.delete(f"/jobs/{job_id}", headers=who)).status_code == 202
    assert (await api.http.get(f"/jobs/{job_id}/events", headers=who)).status_code == 200


@pytest.mark.parametrize("route", ["GET ", "GET /result", "GET /events", "DELETE "])
async def test_anothers_job_is_not_there(api: Api, route: str) -> None:
    job_id, absent = await draw(api, ALICE), "0" * 32
    method, _, path = route.partition(" ")
    foreign = refused(await api.http.request(method, f"/jobs/{job_id}{path}", headers=BOB), 404)
    unknown = refused(await api.http.request(method, f"/jobs/{absent}{path}", headers=BOB), 404)
    assert foreign["detail"].replace(job_id, "") == unknown["detail"].replace(absent, "")
    assert api.services.jobs.get(job_id).status is JobStatus.QUEUED


async def test_a_list_has_ones_own_jobs_in_whole_pages(api: Api) -> None:
    mine = []
    for _ in range(5):
        mine.append(await draw(api, ALICE))
        for _ in range(3):
            await draw(api, BOB)
    seen, cursor = [], None
    for size in (2, 2, 1):
        params = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = (await api.http.get("/jobs", params=params, headers=ALICE)).json()
        assert len(page["items"]) == size
        seen += [job["id"] for job in page["items"]]
        cursor = page["next_cursor"]
    assert (seen, cursor) == (mine[::-1], None)
    for who in (ADMIN, {}):
        assert len((await api.http.get("/jobs", headers=who)).json()["items"]) == 20
    foreign = {"cursor": mine[0]}
    refused(await api.http.get("/jobs", params=foreign, headers=BOB), 422, "cursor")


async def test_a_drawings_file_is_its_owners(api: Api) -> None:
    job_id = await draw(api, ALICE)
    claim = api.services.jobs.claim(job_id, DrawRequest)
    assert claim is not None
    api.services.settings.results_dir.mkdir(parents=True)
    (api.services.settings.results_dir / f"{job_id}.png").write_bytes(b"the file")
    api.services.jobs.succeed(claim, {})
    assert (await api.http.get(f"/jobs/{job_id}/result", headers=ALICE)).content == b"the file"
    refused(await api.http.get(f"/jobs/{job_id}/result", headers=BOB), 404)
