"""Webhooks to a small real server: signed, tried again, given up, and never into private networks."""

from __future__ import annotations

import asyncio
import errno
import json
import re
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import httpx
import pytest
from redis import Redis

from app import addresses, webhooks
from app.settings import AppSettings
from app.webhooks import outcome_of, retry_after
from contract import keys
from contract.jobs import JobStore
from contract.messages import DrawRequest, Images, Side
from tests.app.conftest import Api, Start
from tests.app.test_generate import refused

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "jobs.md"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
SIDE = Side.whole(8)
REQUEST = DrawRequest(model="m", digest="d", what=Images(seeds=(1,), truncation=1, columns=SIDE, rows=SIDE))


@dataclass
class Post:
    """What a receiver was sent."""

    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Receiver:
    """A server on loopback that answers one status line and headers after the other, then 204."""

    answers: list[str] = field(default_factory=list)
    posts: list[Post] = field(default_factory=list)
    port: int = 0
    connections: int = 0

    def url(self, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}/hook?x=1"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            first, *lines = head.strip().split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
            body = await reader.readexactly(int(headers["content-length"]))
            self.posts.append(Post(first.split()[1], headers, body))
            answer = self.answers.pop(0) if self.answers else "204 No Content"
            if answer == "silence":
                await reader.read()  # until the other side gives up
            writer.write(f"HTTP/1.1 {answer}\r\ncontent-length: 0\r\n\r\n".encode())
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def listening(receiver: Receiver, host: str = "127.0.0.1", **more: Any) -> AsyncIterator[Receiver]:
    server = await asyncio.start_server(receiver.serve, host, 0, **more)
    receiver.port = server.sockets[0].getsockname()[1]
    async with server:
        yield receiver


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with listening(Receiver()) as receiver:
        yield receiver


@pytest.fixture
async def api(start: Start, monkeypatch: pytest.MonkeyPatch) -> Api:
    monkeypatch.setattr(webhooks, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(webhooks, "FIRST_PAUSE", 0.05)
    return await start(webhook_secret=SECRET, webhook_allow_private=True, webhook_attempts=3)


async def soon(done: Callable[[], bool]) -> None:
    ends = time.monotonic() + 15
    while not done():
        assert time.monotonic() < ends, "waited in vain"
        await asyncio.sleep(0.02)


def ended(jobs: JobStore, url: str) -> str:
    """A job that has failed and wants to be told of there."""
    job_id = jobs.create(REQUEST, webhook=url)
    claim = jobs.claim(job_id, DrawRequest)
    assert claim is not None
    assert jobs.fail(claim, "no")
    return job_id


async def given_up(api: Api, job_id: str) -> str:
    """The reason, when it is there."""
    await soon(lambda: api.services.jobs.redis.zscore(keys.WEBHOOKS_DEAD, job_id) is not None)
    (letter,) = (await api.http.get("/webhooks/dead")).json()["items"]
    assert letter["job_id"] == job_id
    assert letter["died_at"] == pytest.approx(time.time(), abs=60)
    return str(letter["reason"])


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
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+\+00:00", told["timestamp"])
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


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "10.1.2.3",
        "169.254.169.254",
        "[::1]",
        "localhost",
        "[::ffff:127.0.0.1]",
        "0.0.0.0",
        "127.1",
    ],
)
async def test_what_is_private_is_refused(start: Start, receiver: Receiver, host: str) -> None:
    api = await start(webhook_secret=SECRET, webhook_attempts=1)
    reason = await given_up(api, ended(api.services.jobs, receiver.url(host)))
    assert "no public address" in reason
    assert receiver.connections == 0


async def test_a_host_with_a_private_address_among_others_is_refused(
    start: Start, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [ip_address("93.184.215.14"), ip_address("127.0.0.1")]
    monkeypatch.setattr(addresses, "look_up", lambda *_: found)
    api = await start(webhook_secret=SECRET, webhook_attempts=1)
    reason = await given_up(api, ended(api.services.jobs, receiver.url("two.example")))
    assert "127.0.0.1, which is no public address" in reason
    assert receiver.connections == 0


async def test_the_connection_goes_to_the_address_that_was_looked_at(
    api: Api, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that the system cannot find: nobody looks a second time."""
    looks: list[str] = []

    def look(host: str, _: int) -> list[Any]:
        looks.append(host)
        return [ip_address("127.0.0.2"), ip_address("127.0.0.1")]  # nobody listens at the first

    monkeypatch.setattr(addresses, "look_up", look)
    ended(api.services.jobs, receiver.url("nowhere.invalid"))
    await soon(lambda: len(receiver.posts) == 1)
    assert looks == ["nowhere.invalid"]
    assert receiver.posts[0].headers["host"] == f"nowhere.invalid:{receiver.port}"


def has_ipv6() -> bool:
    with socket.socket(socket.AF_INET6) as probe:
        return probe.connect_ex(("::1", 9)) in (0, errno.ECONNREFUSED)


@pytest.mark.skipif(not has_ipv6(), reason="no IPv6 here")
async def test_ipv6_is_spoken(api: Api) -> None:
    async with listening(Receiver(), "::1") as receiver:
        ended(api.services.jobs, receiver.url("[::1]"))
        await soon(lambda: len(receiver.posts) == 1)
    assert receiver.posts[0].headers["host"] == f"[::1]:{receiver.port}"


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl here to make a certificate with")
@pytest.mark.parametrize(("name", "trusted"), [("hooks.example", True), ("other.example", False)])
async def test_https_asks_for_the_names_certificate(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, trusted: bool
) -> None:
    pair = ["-keyout", str(tmp_path / "key.pem"), "-out", str(tmp_path / "cert.pem")]
    words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=hooks.example"
    subprocess.run(
        ["openssl", *words.split(), "-addext", "subjectAltName=DNS:hooks.example", *pair],
        check=True, capture_output=True,
    )  # fmt: skip
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))
    monkeypatch.setattr(addresses, "look_up", lambda *_: [ip_address("127.0.0.1")])
    tls, asked = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), []
    tls.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    tls.sni_callback = lambda _, server_name, __: asked.append(server_name)
    api = await start(webhook_secret=SECRET, webhook_allow_private=True, webhook_attempts=1)
    async with listening(Receiver(), ssl=tls) as receiver:
        job_id = ended(api.services.jobs, receiver.url(name).replace("http", "https", 1))
        if trusted:
            await soon(lambda: len(receiver.posts) == 1)
        else:
            assert "CERTIFICATE_VERIFY_FAILED" in await given_up(api, job_id)
            assert receiver.posts == []
    assert asked == [name]


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
    monkeypatch.setattr("app.routes.jobs.dataset_names", lambda _: ["cats"])
    monkeypatch.setattr(api.services.celery, "send_task", lambda *_: None)
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
