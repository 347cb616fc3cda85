"""Webhooks to a small real server: signed, tried again, given up."""

from __future__ import annotations

import json
import re
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from redis import Redis

from app import webhooks
from app.settings import AppSettings
from app.webhooks import outcome_of, retry_after
from contract import keys
from contract.jobs import JobStore
from tests.app.conftest import Api, Start
from tests.app.receiver import SECRET, Receiver, ended, given_up, listening, soon
from tests.app.test_generate import refused

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "jobs.md"


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with listening(Receiver()) as receiver:
        yield receiver


@pytest.fixture
async def api(start: Start, monkeypatch: pytest.MonkeyPatch) -> Api:
    monkeypatch.setattr(webhooks, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(webhooks, "FIRST_PAUSE", 0.05)
    return await start(webhook_secret=SECRET, webhook_allow_private=True, webhook_attempts=3)


def documented() -> Callable[[str, dict[str, str], bytes], None]:
    """``verify`` as docs/jobs.md has it."""
    (code,) = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)
    verify: Callable[[str, dict[str, str], bytes], None] = names["verify"]
    return verify


async def counted(api: Api) -> dict[str, float]:
    text = (await api.http.get("/metrics")).text
    return {k: float(v) for k, v in re.findall(r'vitgan_webhooks_total{outcome="(\w+)"} ([\d.]+)', text)}


async def test_the_end_of_a_job_is_posted_signed(api: Api, receiver: Receiver, redis: Redis) -> None:
    before = await counted(api)
    job_id = ended(api.services.jobs, receiver.url())
    await soon(lambda: len(receiver.posts) == 1)
    (post,) = receiver.posts
    assert (post.path, post.headers["host"]) == ("/hook?x=1", f"127.0.0.1:{receiver.port}")
    assert post.headers["content-type"] == "application/json"
    assert post.headers["webhook-id"] == f"job_{job_id}"
    told = json.loads(post.body)
    assert told["type"] == "job.failed"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d\d\dZ", told["timestamp"])
    assert told["data"] == (await api.http.get(f"/jobs/{job_id}")).json()
    await soon(lambda: redis.keys("vitgan:webhook*") == [])
    after = await counted(api)
    assert {name: after[name] - before[name] for name in after} == {"delivered": 1, "failed": 0, "dead": 0}


async def test_the_documents_snippet_tells_true_from_false(api: Api, receiver: Receiver) -> None:
    ended(api.services.jobs, receiver.url())
    await soon(lambda: len(receiver.posts) == 1)
    verify, (post,) = documented(), receiver.posts
    verify(SECRET, post.headers, post.body)
    others = post.headers | {"webhook-signature": "v1,abc " + post.headers["webhook-signature"]}
    verify(SECRET, others, post.body)  # as when a secret is being replaced
    for secret, headers, body in [
        ("whsec_c29tZSBvdGhlciBzZWNyZXQ=", post.headers, post.body),
        (SECRET, post.headers, post.body + b" "),
        (SECRET, post.headers | {"webhook-id": "job_0"}, post.body),
        (SECRET, post.headers | {"webhook-timestamp": str(int(time.time()) - 400)}, post.body),
    ]:
        with pytest.raises(ValueError):  # noqa: PT011
            verify(secret, headers, body)


async def test_a_secret_may_be_plain_text(start: Start, receiver: Receiver) -> None:
    api = await start(webhook_secret="as plain as this", webhook_allow_private=True)
    ended(api.services.jobs, receiver.url())
    await soon(lambda: len(receiver.posts) == 1)
    documented()("as plain as this", receiver.posts[0].headers, receiver.posts[0].body)


async def test_what_was_not_heard_is_sent_again_with_the_same_id(api: Api, receiver: Receiver) -> None:
    receiver.answers = ["500 Oops", "500 Oops"]
    before = await counted(api)
    ended(api.services.jobs, receiver.url())
    await soon(lambda: len(receiver.posts) == 3)
    assert len({post.headers["webhook-id"] for post in receiver.posts}) == 1
    assert len({post.body for post in receiver.posts}) == 1
    for post in receiver.posts:
        documented()(SECRET, post.headers, post.body)
    await soon(lambda: api.services.jobs.redis.keys("vitgan:webhook*") == [])
    after = await counted(api)
    assert {name: after[name] - before[name] for name in after} == {"delivered": 1, "failed": 2, "dead": 0}


async def test_it_is_given_up_after_the_last_attempt(api: Api, receiver: Receiver) -> None:
    receiver.answers = ["500 Oops"] * 9
    reason = await given_up(api, ended(api.services.jobs, receiver.url()))
    assert reason == "answered 500 (attempt 3)"
    assert len(receiver.posts) == 3


async def test_gone_is_the_end_of_it(api: Api, receiver: Receiver) -> None:
    receiver.answers = ["410 Gone"]
    reason = await given_up(api, ended(api.services.jobs, receiver.url()))
    assert reason == "answered 410 (attempt 1)"
    assert len(receiver.posts) == 1


async def test_a_redirect_is_not_followed(api: Api, receiver: Receiver) -> None:
    receiver.answers = [f"307 Elsewhere\r\nlocation: {receiver.url()}&elsewhere"] * 3
    reason = await given_up(api, ended(api.services.jobs, receiver.url()))
    assert "redirect" in reason
    assert {post.path for post in receiver.posts} == {"/hook?x=1"}


async def test_retry_after_is_waited_for(api: Api, receiver: Receiver, redis: Redis) -> None:
    for asked, pause in (("120", 120), ("999999999", 3600)):
        receiver.answers = [f"503 Later\r\nretry-after: {asked}"]
        job_id = ended(api.services.jobs, receiver.url())
        await soon(lambda job=job_id: (redis.zscore(keys.WEBHOOKS_DUE, job) or 0) > time.time() + 60)  # type: ignore[misc,operator]
        assert redis.zscore(keys.WEBHOOKS_DUE, job_id) == pytest.approx(time.time() + pause, abs=10)


async def test_one_that_does_not_answer_holds_up_no_other(
    api: Api, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhooks, "ANSWER_SECONDS", 0.5)
    async with listening(Receiver(["silence"] * 3)) as silent:
        job_id = ended(api.services.jobs, silent.url())
        await soon(lambda: len(silent.posts) == 1)
        ended(api.services.jobs, receiver.url())
        await soon(lambda: len(receiver.posts) == 1)
        assert len(silent.posts) == 1  # still the first attempt
        assert await given_up(api, job_id) == "no answer in 0.5 s (attempt 3)"


async def test_what_ended_while_no_api_ran_is_told_when_one_does(
    start: Start, receiver: Receiver, redis: Redis
) -> None:
    job_id = ended(JobStore(redis), receiver.url())
    await start(webhook_secret=SECRET, webhook_allow_private=True)
    await soon(lambda: [post.headers["webhook-id"] for post in receiver.posts] == [f"job_{job_id}"])


async def test_two_processes_deliver_each_once(
    start: Start, receiver: Receiver, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhooks, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(JobStore, "elect", lambda *_: True)  # both believe that it is their turn
    apis = [await start(webhook_secret=SECRET, webhook_allow_private=True) for _ in range(2)]
    ids = [ended(apis[0].services.jobs, receiver.url()) for _ in range(40)]
    await soon(lambda: redis.keys("vitgan:webhook*") == [])
    assert sorted(post.headers["webhook-id"] for post in receiver.posts) == sorted(f"job_{i}" for i in ids)


DRAW, TRAIN = {"seed": 1}, {"dataset": "cats", "name": "mine", "kimg": 1}
URL = "https://example.org/hook"


@pytest.mark.parametrize(
    ("route", "body", "prefer"),
    [
        ("/generate", DRAW, "respond-async"),
        ("/interpolate", {"seeds": [1, 2]}, "respond-async"),
        ("/train", TRAIN, ""),
    ],
)
async def test_every_way_to_a_job_takes_a_webhook(
    api: Api, monkeypatch: pytest.MonkeyPatch, route: str, body: dict[str, Any], prefer: str
) -> None:
    monkeypatch.setattr("app.routes.jobs.check_trainable", lambda *_: None)
    monkeypatch.setattr(api.services.celery, "send_task", lambda *_, **__: None)
    answer = await api.http.post(route, json=body | {"webhook": URL}, headers={"Prefer": prefer})
    assert answer.status_code == 202, answer.text
    assert "webhook" not in answer.text
    assert api.services.jobs.get(answer.json()["id"]).webhook == URL


@pytest.mark.parametrize(
    ("url", "word"),
    [
        ("ftp://example.org", "http"),
        ("example.org/hook", "webhook"),
        ("https://me:secret@example.org", "password"),
        ("https://me@example.org", "user"),
        ("https://example.org:0/", "port"),
        ("https://example.org:65536/", "port"),
        ("https://", "webhook"),
        (7, "webhook"),
    ],
)
async def test_what_is_no_webhooks_url_is_told(api: Api, url: object, word: str) -> None:
    refused(await api.http.post("/train", json=TRAIN | {"webhook": url}), 422, "webhook", word)


@pytest.mark.parametrize(("route", "body"), [("/generate", DRAW), ("/interpolate", {"seeds": [1, 2]})])
async def test_a_webhook_without_a_job_is_refused(api: Api, route: str, body: dict[str, Any]) -> None:
    refused(await api.http.post(route, json=body | {"webhook": URL}), 422, "respond-async")


async def test_a_webhook_that_nothing_signs_is_refused(start: Start) -> None:
    api = await start()
    refused(await api.http.post("/train", json=TRAIN | {"webhook": URL}), 422, "VITGAN_WEBHOOK_SECRET")


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_not base64!"])
def test_a_secret_that_is_none_is_told_at_the_start(secret: str) -> None:
    with pytest.raises(ValueError, match="webhook_secret"):
        AppSettings(webhook_secret=secret)


def test_retry_after_is_seconds_or_a_date() -> None:
    assert retry_after("120") == 120
    assert retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0
    assert retry_after("Fri, 31 Dec 2100 23:59:59 GMT") > 1e9
    assert retry_after("soon") == retry_after("") == retry_after("٣") == 0
    # Of other answers it says nothing.
    assert outcome_of(httpx.Response(500, headers={"retry-after": "9"})).pause == 0
    assert outcome_of(httpx.Response(429, headers={"retry-after": "9"})).pause == 9
