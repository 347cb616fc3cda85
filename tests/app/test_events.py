"""GET /jobs/{id}/events of jobs that end while they are read, or have ended."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Any

import pytest

from app import events
from app.events import AT_ONCE, order, position_after
from contract import job_machine
from contract.jobs import Claim, JobStore
from contract.messages import TrainRequest
from tests.app.conftest import Api
from tests.app.test_generate import refused

REQUEST = TrainRequest(dataset="d", preset="vitgan-ti-32", name="made", kimg=1, seed=0)


@dataclass(frozen=True)
class Event:
    id: str | None
    type: str
    data: Any


def parse(text: str) -> list[Event]:
    """Events of a stream; comments are left out."""
    found = []
    for block in text.replace("\r\n", "\n").split("\n\n"):
        lines = [line.partition(": ") for line in block.split("\n") if line and not line.startswith(":")]
        fields = {name: value for name, _, value in lines}
        if fields:
            found.append(Event(fields.get("id"), fields["event"], json.loads(fields["data"])))
    return found


async def read(api: Api, job_id: str, last: str | None = None) -> list[Event]:
    headers = {} if last is None else {"Last-Event-ID": last}
    answer = await api.http.get(f"/jobs/{job_id}/events", headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["cache-control"] == "no-store"
    return parse(answer.text)


def begun(jobs: JobStore, beats: int = 0) -> Claim[TrainRequest]:
    claim = jobs.claim(jobs.create(REQUEST), TrainRequest)
    assert claim is not None
    for kimg in range(beats):
        jobs.beat(claim, {"kimg": kimg})
    return claim


async def test_a_finished_jobs_events_can_be_read_later(api: Api) -> None:
    jobs = api.services.jobs
    claim = begun(jobs, 3)
    jobs.succeed(claim, {"model": "made"})
    events = await read(api, claim.job_id)
    assert [event.data.get("status", event.type) for event in events] == [
        "queued", "running", "progress", "progress", "progress", "succeeded", "succeeded",
    ]  # fmt: skip
    assert events[-1] == Event(None, "end", {"status": "succeeded"})
    assert events[-2].data["result"] == {"model": "made"}
    assert [event.data for event in events if event.type == "progress"] == [{"kimg": i} for i in range(3)]
    assert await read(api, claim.job_id) == events


@pytest.mark.parametrize("count", [AT_ONCE - 3, AT_ONCE - 2, 3 * AT_ONCE])
async def test_after_every_id_comes_the_rest_and_nothing_twice(api: Api, count: int) -> None:
    claim = begun(api.services.jobs, count)
    api.services.jobs.fail(claim, "no")
    events = await read(api, claim.job_id)
    ids = [event.id for event in events[:-1]]
    assert len(ids) == len(set(ids)) == count + 3
    for n in (0, 1, count // 2, count + 1):  # after the last one nothing comes: 204
        assert await read(api, claim.job_id, ids[n]) == events[n + 1 :]


async def test_an_id_of_which_later_events_were_dropped_is_answered_with_a_gap_first(api: Api) -> None:
    claim = begun(api.services.jobs)
    whole = api.services.jobs.redis.xrange(f"vitgan:job:{claim.job_id}:events")
    first, second = (event_id for event_id, _ in whole)  # type: ignore[union-attr]
    for kimg in range(job_machine.KEEP_EVENTS - 1):
        api.services.jobs.beat(claim, {"kimg": kimg})
    api.services.jobs.cancelled(claim)  # now both of the above are dropped
    for last in (None, first):
        gap, *rest = await read(api, claim.job_id, last)
        assert (gap.type, gap.id) == ("gap", None)
        assert "dropped" in gap.data["detail"]
        assert len(rest) == job_machine.KEEP_EVENTS + 1
    # Who had the last one that was dropped has missed nothing.
    assert await read(api, claim.job_id, second) == rest
    assert (rest[0].type, rest[0].data) == ("progress", {"kimg": 0})


@pytest.mark.parametrize("given", ["nonsense", "12", "1-2-3", "-1-0", f"{2**64}-0", "１-0"])
async def test_what_is_no_events_id_is_400(api: Api, given: str) -> None:
    job_id = begun(api.services.jobs).job_id
    headers = {"Last-Event-ID": given.encode()}
    answer = await api.http.get(f"/jobs/{job_id}/events", headers=headers)  # type: ignore[arg-type]
    refused(answer, 400, "Last-Event-ID", "such as")


async def test_while_nothing_happens_comments_keep_the_connection(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "COMMENT_SECONDS", 0.05)
    claim = begun(api.services.jobs)
    reading = asyncio.create_task(api.http.get(f"/jobs/{claim.job_id}/events"))
    await asyncio.sleep(2)  # forty times as long, on a machine with nothing else to do
    api.services.jobs.cancelled(claim)
    assert (await reading).text.count("\r\n: ping") > 3


async def test_no_job_no_events(api: Api) -> None:
    refused(await api.http.get("/jobs/nobody/events"), 404)


def test_ids_are_ordered_as_numbers() -> None:
    ids = ["0-0", "9-0", "9-9", "9-10", "10-0"]
    assert sorted(ids, key=order) == ids
    assert position_after(None) == position_after("") == "0-0"
    assert position_after(f"{2**64 - 1}-0") == f"{2**64 - 1}-0"


async def test_who_has_read_an_ended_job_to_its_end_is_told_to_stop(api: Api) -> None:
    """204 is what ends a browser's EventSource, which connects again whenever a stream ends."""
    jobs = api.services.jobs
    claim = begun(jobs, 1)
    url = f"/jobs/{claim.job_id}/events"
    jobs.succeed(claim, {"model": "made"})
    *told, end = await read(api, claim.job_id)
    assert (end.id, end.type) == (None, "end")
    for method in ("GET", "HEAD"):
        answer = await api.http.request(method, url, headers={"Last-Event-ID": str(told[-1].id)})
        assert (answer.status_code, answer.content) == (204, b"")
    assert len(await read(api, claim.job_id, told[-2].id)) == 2  # one has not been read
