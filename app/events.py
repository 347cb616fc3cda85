"""A job's events on their way to a client (server-sent events, WHATWG HTML, section 9.2).

The stream in Redis is looked at again and again, through a few connections that all readers share: a reader
that blocked on it would keep a connection for as long as it reads.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncGenerator
from typing import Any, cast

import anyio
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from sse_starlette import EventSourceResponse, ServerSentEvent

from app.errors import BadRequest
from app.metrics import EVENT_READERS
from contract import keys
from contract.jobs import FINAL
from contract.redis_client import COMMAND_SECONDS

LOOK_SECONDS = 0.3
COMMENT_SECONDS = 15  # between signs of life, so that nobody on the way takes the connection for dead
STOP_SECONDS = 1.0  # for readers to be let go when the service stops; they come again
AT_ONCE = 100  # events of one look
CONNECTIONS = 4  # of this process, for all its readers
CLIENT_NAME = "vitgan-events"  # of those connections, as CLIENT LIST tells it
BEGINNING = "0-0"


def shared_client(url: str) -> Redis:
    """The client of all readers; whoever finds its connections busy waits for one."""
    pool = BlockingConnectionPool.from_url(
        url, max_connections=CONNECTIONS, timeout=10, decode_responses=True, retry=Retry(NoBackoff(), 0),
        socket_timeout=COMMAND_SECONDS, socket_connect_timeout=COMMAND_SECONDS, client_name=CLIENT_NAME,
    )  # fmt: skip
    return Redis.from_pool(pool)


def position_after(last_event_id: str | None) -> str:
    """Where to go on; raises ``BadRequest`` if that was never an event's id."""
    if not last_event_id:
        return BEGINNING
    if not re.fullmatch(r"\d{1,20}-\d{1,20}", last_event_id, re.ASCII) or max(order(last_event_id)) >= 2**64:
        raise BadRequest(
            f"Last-Event-ID: {last_event_id[:80]!r} is no event's id, give the last one that you had, "
            "such as 1700000000000-0, or none to begin at the first event"
        )
    return last_event_id


def events_response(redis: Redis, job_id: str, position: str) -> EventSourceResponse:
    """The events as an answer that is sent while they happen."""
    stopping = anyio.Event()
    told = job_events(redis, job_id, position, stopping)
    return EventSourceResponse(
        told, ping=COMMENT_SECONDS, shutdown_event=stopping, shutdown_grace_period=STOP_SECONDS
    )


async def is_read(redis: Redis, job_id: str, position: str) -> bool:
    """Whether the job has ended and nothing comes after that position."""
    async with redis.pipeline(transaction=True) as pipe:
        pipe.hget(keys.job(job_id), "status")
        pipe.xrevrange(keys.job_events(job_id), count=1)
        status, last = await pipe.execute()
    return status in FINAL and all(order(event_id) <= order(position) for event_id, _ in last)


async def job_events(
    redis: Redis, job_id: str, position: str, stopping: anyio.Event
) -> AsyncGenerator[ServerSentEvent, None]:
    """What came after that position, then what comes, until the job has ended or the service stops.

    Events that were dropped before they could be sent are told of by an event ``gap``; the last one of a job
    that has ended is ``end``. A Redis that is away is waited for: what is told meanwhile is in the stream
    afterwards.
    """
    with EVENT_READERS.track_inprogress():
        while not stopping.is_set():
            try:
                entries, (status, dropped) = await _look(redis, job_id, position)
            except RedisError:  # the reaper tells the log
                await asyncio.sleep(LOOK_SECONDS)
                continue
            if dropped and order(dropped) > order(position):
                position = dropped
                yield _event(
                    "gap", detail=f"events were dropped here: GET /jobs/{job_id} tells how it stands"
                )
            for position, told in entries:
                yield ServerSentEvent(told["data"], event=told["type"], id=position)
            if len(entries) == AT_ONCE:
                continue
            if status is None or status in FINAL:
                yield _event("end", status=status)
                return
            await asyncio.sleep(LOOK_SECONDS)


async def _look(redis: Redis, job_id: str, position: str) -> tuple[list[tuple[str, Any]], list[str | None]]:
    """The next events, and of the record as it was then: the status, and the last event dropped."""
    async with redis.pipeline(transaction=True) as pipe:
        pipe.xrange(keys.job_events(job_id), f"({position}", "+", AT_ONCE)
        pipe.hmget(keys.job(job_id), "status", "dropped")
        entries, record = await pipe.execute()
    return cast(Any, entries), cast(Any, record)


def order(event_id: str) -> tuple[int, int]:
    """Ids compare as pairs of numbers."""
    milliseconds, number = event_id.split("-")
    return int(milliseconds), int(number)


def _event(name: str, **data: Any) -> ServerSentEvent:
    """One of the reader's own: without an id, since the stream has none of it."""
    return ServerSentEvent(json.dumps(data), event=name)
