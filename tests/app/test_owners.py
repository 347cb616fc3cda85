"""Whose jobs a client sees: behind keys its own, where nobody is asked for one all of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.key_file import editing, new_key
from contract.jobs import JobStatus
from contract.messages import DrawRequest
from tests.app.conftest import Api, Start
from tests.app.test_generate import refused

SCOPES = {"alice": "generate", "bob": "generate", "admin": "admin"}


@dataclass
class House:
    """The same jobs behind two doors: at one ``keys`` are asked for, at the other ``anybody`` comes in."""

    closed: Api
    open: Api
    keys: dict[str, str]

    async def ask(
        self, who: str, method: str, path: str, headers: dict[str, str] | None = None, **more: Any
    ) -> httpx.Response:
        if who == "anybody":
            return await self.open.http.request(method, path, headers=headers, **more)
        key = {"X-API-Key": self.keys[who]}
        return await self.closed.http.request(method, path, headers=key | (headers or {}), **more)

    async def draw(self, who: str) -> str:
        answer = await self.ask(who, "POST", "/generate", {"Prefer": "respond-async"}, json={"seed": 1})
        assert answer.status_code == 202, answer.text
        assert not {"owner", "webhook"} & set(answer.json())
        return str(answer.json()["id"])


@pytest.fixture
async def house(start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    given = {who: new_key(who, [scope]) for who, scope in SCOPES.items()}
    with editing(tmp_path / "keys.json") as kept:
        kept += [one for _, one in given.values()]
    doors = (
        await start(alive=False, api_keys_file=tmp_path / "keys.json"),
        await start(alive=False),
    )
    for api in doors:
        monkeypatch.setattr(api.services.celery, "send_task", lambda *_, **__: None)  # nobody needs to draw
    return House(*doors, {who: key for who, (key, _) in given.items()})


async def test_a_job_belongs_to_whoever_asked(house: House) -> None:
    jobs = house.closed.services.jobs
    assert jobs.get(await house.draw("alice")).owner == house.keys["alice"][3:11]
    assert jobs.get(await house.draw("anybody")).owner == "anonymous"


@pytest.mark.parametrize("who", ["alice", "admin", "anybody"])
async def test_its_owner_an_admin_and_a_house_without_keys_see_a_job(house: House, who: str) -> None:
    job_id = await house.draw("alice")
    assert (await house.ask(who, "GET", f"/jobs/{job_id}")).status_code == 200
    refused(await house.ask(who, "GET", f"/jobs/{job_id}/result"), 409)
    assert (await house.ask(who, "DELETE", f"/jobs/{job_id}")).status_code == 202
    assert (await house.ask(who, "GET", f"/jobs/{job_id}/events")).status_code == 200


@pytest.mark.parametrize("route", ["GET ", "GET /result", "GET /events", "DELETE "])
async def test_anothers_job_is_not_there(house: House, route: str) -> None:
    job_id, absent = await house.draw("alice"), "0" * 32
    method, _, path = route.partition(" ")
    foreign = refused(await house.ask("bob", method, f"/jobs/{job_id}{path}"), 404)
    unknown = refused(await house.ask("bob", method, f"/jobs/{absent}{path}"), 404)
    assert foreign["detail"].replace(job_id, "") == unknown["detail"].replace(absent, "")
    assert house.closed.services.jobs.get(job_id).status is JobStatus.QUEUED


async def test_a_list_has_ones_own_jobs_in_whole_pages(house: House) -> None:
    mine = []
    for _ in range(5):
        mine.append(await house.draw("alice"))
        for _ in range(3):
            await house.draw("bob")
    seen, cursor = [], None
    for size in (2, 2, 1):
        params = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = (await house.ask("alice", "GET", "/jobs", params=params)).json()
        assert len(page["items"]) == size
        seen += [job["id"] for job in page["items"]]
        cursor = page["next_cursor"]
    assert (seen, cursor) == (mine[::-1], None)
    for who in ("admin", "anybody"):
        assert len((await house.ask(who, "GET", "/jobs")).json()["items"]) == 20
    refused(await house.ask("bob", "GET", "/jobs", params={"cursor": mine[0]}), 422, "cursor")


async def test_a_drawings_file_is_its_owners(house: House) -> None:
    job_id, services = await house.draw("alice"), house.closed.services
    claim = services.jobs.claim(job_id, DrawRequest)
    assert claim is not None
    services.settings.results_dir.mkdir(parents=True)
    (services.settings.results_dir / f"{job_id}.png").write_bytes(b"the file")
    services.jobs.succeed(claim, {})
    assert (await house.ask("alice", "GET", f"/jobs/{job_id}/result")).content == b"the file"
    refused(await house.ask("bob", "GET", f"/jobs/{job_id}/result"), 404)
