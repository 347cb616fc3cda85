"""Webhooks: the end of a job is posted to the URL that its client gave, signed (standardwebhooks.com).

Delivered by the API process that reaps, each in a task of its own, by turns (app/webhook_turns.py). At least
once: whoever hears one twice knows it by its ``webhook-id``. A receiver that does not answer 2xx in time is
asked again after 5 s, 10 s and so on.
"""

from __future__ import annotations

import asyncio
import base64
import email.utils
import hashlib
import hmac
import json
import logging
import re
import socket
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import httpx
from pydantic import HttpUrl
from redis import RedisError

from app.addresses import Address, AddressRefusedError, addresses_of, begin_look_up
from app.errors import InvalidRequest
from app.metrics import WEBHOOKS
from app.reaper import TERM_SECONDS
from app.settings import AppSettings
from app.webhook_turns import MOST, Turns
from contract.jobs import Job, JobStore
from contract.times import utc
from contract.webhooks import Attempt, Due, WebhookQueue

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.5
LOOK_AT = 5000  # that are due
PUT_OFF_SECONDS = 5.0  # where more are due: those that have no turn yet, so that the rest are looked at
TOGETHER_SECONDS = 0.05  # in which deliveries that end make room together
ANSWER_SECONDS = 10.0  # for all of one delivery, finding the address included
FIRST_PAUSE, LONGEST_PAUSE = 5.0, 3600.0  # after a failure, doubled with each


def checked_webhook(url: HttpUrl | None, is_job: bool, settings: AppSettings) -> str | None:
    """The URL as the job's record has it; raises ``InvalidRequest`` if nothing would ever be posted to it."""
    if url is None:
        return None
    if not is_job:
        raise InvalidRequest(
            "webhook: it tells of a job's end, send the header Prefer: respond-async to get one"
        )
    if not settings.webhook_key:
        raise InvalidRequest(
            "webhook: none are sent here, because there is nothing to sign them with: leave it out, or set "
            "VITGAN_WEBHOOK_SECRET on the service"
        )
    return str(url)


def body_of(job: Job) -> bytes:
    """What is posted of a job that has ended: the same bytes each time."""
    data = job.model_dump(mode="json")
    told = {"type": f"job.{job.status}", "timestamp": utc(job.finished_at or 0), "data": data}
    return json.dumps(told).encode()


def signed_headers(key: bytes, message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """What the receiver checks: HMAC-SHA256 of ``id.timestamp.body``."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    signature = base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": f"v1,{signature}",
    }


@dataclass(frozen=True)
class Outcome:
    """What came of one delivery."""

    problem: str = ""  # empty: it was heard
    gone: bool = False  # the receiver never wants to hear of it again
    pause: float = 0  # seconds that the receiver asked for


class Webhooks:
    """Takes what is due from the queue and posts it, if ``reaper_id`` is the process that reaps."""

    def __init__(self, jobs: JobStore, settings: AppSettings, reaper_id: str) -> None:
        self.jobs, self.settings, self.reaper_id = jobs, settings, reaper_id
        self.queue = WebhookQueue(jobs.redis)
        self._resolvers = ThreadPoolExecutor(MOST, "webhook-addresses")  # one for each delivery
        self._tls = httpx.create_ssl_context()
        self._turns = Turns()
        self._ended = asyncio.Event()  # a delivery, which makes room
        self._lookups: dict[str, Future[list[Address]]] = {}  # by the job's id
        self._under_way: set[asyncio.Task[None]] = set()

    async def deliver_forever(self) -> None:
        """Looks for what is due, again and again; a Redis that is away is waited for."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                next_look = loop.time() + LOOK_SECONDS
                try:
                    await self._begin(await asyncio.to_thread(self._due), next_look)
                except RedisError as error:
                    log.warning("webhooks wait for Redis: %s", error)
                await asyncio.sleep(next_look - loop.time())
        finally:  # what is cut off here is tried again when its lease has run out
            for task in self._under_way:
                task.cancel()
            await asyncio.gather(*self._under_way, return_exceptions=True)
            self._resolvers.shutdown(wait=False)

    def _due(self) -> list[Due]:
        return self.queue.due(LOOK_AT) if self.jobs.elect(self.reaper_id, TERM_SECONDS) else []

    async def _begin(self, waiting: list[Due], until: float) -> None:
        """Begins those that have a turn, and until then more as others end."""
        is_all = len(waiting) < LOOK_AT
        while waiting:
            self._ended.clear()
            chosen = {due.job_id: due for due in self._turns.begin(waiting)}
            waiting = [due for due in waiting if due.job_id not in chosen]
            await self._claim(chosen)
            try:
                async with asyncio.timeout_at(until):
                    await self._ended.wait()
                    await asyncio.sleep(TOGETHER_SECONDS)
            except TimeoutError:
                break
        if waiting and not is_all:
            ids = [due.job_id for due in waiting]
            await asyncio.to_thread(self.queue.put_off, ids, PUT_OFF_SECONDS)

    async def _claim(self, chosen: dict[str, Due]) -> None:
        left = dict(chosen)
        try:
            for attempt in await asyncio.to_thread(self.queue.claim, list(chosen)) if chosen else ():
                task = asyncio.create_task(self._deliver(attempt, left.pop(attempt.job_id)))
                self._under_way.add(task)
                task.add_done_callback(self._under_way.discard)
        finally:  # another process has begun them, or Redis is away
            for due in left.values():
                self._turns.end(due)

    async def _deliver(self, attempt: Attempt, due: Due) -> None:
        began = time.monotonic()
        try:
            outcome = await self._outcome(attempt)
            seconds = time.monotonic() - began
            await asyncio.to_thread(self._settle, attempt, outcome)
        except KeyError:  # forgotten meanwhile, and with it that it was due
            seconds = 0
        except RedisError as error:
            seconds = 0
            log.warning("webhook of job %s waits for Redis: %s", attempt.job_id, error)
        await self._leave(due, seconds)

    async def _outcome(self, attempt: Attempt) -> Outcome:
        try:
            job = await asyncio.to_thread(self.jobs.get, attempt.job_id)
        except (ValueError, TypeError):
            log.exception("job %s cannot be read", attempt.job_id)
            return Outcome("the job's record cannot be read")
        return await self._attempt(job)

    async def _leave(self, due: Due, seconds: float) -> None:
        """Makes room for another, once no thread of it looks for an address any more."""
        if lookup := self._lookups.pop(due.job_id, None):
            await asyncio.gather(asyncio.wrap_future(lookup), return_exceptions=True)
        self._turns.end(due, seconds)
        self._ended.set()

    def _settle(self, attempt: Attempt, outcome: Outcome) -> None:
        if not outcome.problem:
            name, counted = "delivered", self.queue.delivered(attempt)
        elif outcome.gone or attempt.number >= self.settings.webhook_attempts:
            reason = f"{outcome.problem} (attempt {attempt.number})"
            log.warning("webhook of job %s is given up: %s", attempt.job_id, reason)
            name, counted = "dead", self.queue.bury(attempt, reason)
        else:
            pause = min(LONGEST_PAUSE, max(FIRST_PAUSE * 2 ** (attempt.number - 1), outcome.pause))
            name, counted = "failed", self.queue.again(attempt, pause)
        if counted:
            WEBHOOKS.labels(outcome=name).inc()

    async def _attempt(self, job: Job) -> Outcome:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return outcome_of(await self._post(job))
        except TimeoutError:
            return Outcome(f"no answer in {ANSWER_SECONDS:g} s")
        except Exception as error:  # whatever it is, one attempt has failed
            where = getattr(error, "address", "")
            log.info("webhook of job %s: %s: %s %s", job.id, type(error).__name__, error, where)
            return Outcome(reason_of(error))

    async def _post(self, job: Job) -> httpx.Response:
        """Posts it to the first of the host's addresses that takes a connection; the body is not read."""
        url = httpx.URL(job.webhook or "")
        port = url.port or {"http": 80, "https": 443}[url.scheme]
        host = url.raw_host.decode()
        self._lookups[job.id] = lookup = begin_look_up(host, port, self._resolvers)
        addresses = await addresses_of(host, lookup, self.settings.webhook_allow_private)
        body = body_of(job)
        headers = {
            **signed_headers(self.settings.webhook_key, f"job_{job.id}", int(time.time()), body),
            "Host": url.netloc.decode(),
            "Content-Type": "application/json",
            "User-Agent": "vitgan-webhooks",
        }
        # No proxy and nothing else of the environment; no connection is used twice, since one that was
        # made to another name at the same address has shown another name's certificate.
        async with httpx.AsyncClient(verify=self._tls, timeout=ANSWER_SECONDS, trust_env=False) as client:
            for number, address in enumerate(addresses, 1):
                request = client.build_request(
                    "POST", url.copy_with(host=str(address)), content=body, headers=headers,
                    extensions={"sni_hostname": host},
                )  # fmt: skip
                try:
                    answer = await client.send(request, stream=True, follow_redirects=False)
                except httpx.ConnectError:
                    if number == len(addresses):
                        raise
                else:
                    await answer.aclose()
                    return answer
        raise OSError(f"{host} has no address")


def outcome_of(answer: httpx.Response) -> Outcome:
    """What an answer means."""
    if answer.is_success:
        return Outcome()
    problem = f"answered {answer.status_code}"
    if answer.has_redirect_location:
        problem += f", a redirect to {answer.headers['location'][:200]}, which is not followed"
    pause = retry_after(answer.headers.get("retry-after", "")) if answer.status_code in (429, 503) else 0
    return Outcome(problem, gone=answer.status_code == 410, pause=pause)


def reason_of(error: Exception) -> str:
    """Why there was no answer, without addresses of our network, which an error's own text may have."""
    cause = error.__cause__ or error.__context__
    if isinstance(error, AddressRefusedError):
        return str(error)
    if isinstance(error, socket.gaierror):
        return "the host's name is not found"
    if match := re.search(r"CERTIFICATE_VERIFY_FAILED|WRONG_VERSION_NUMBER", f"{error} {cause}"):
        return f"no TLS that can be trusted: {match[0]}"
    if isinstance(error, (httpx.ConnectError, OSError)):
        return "the host takes no connection"
    if isinstance(error, (httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError)):
        return "the connection broke off, or what came was no HTTP"
    return type(error).__name__


def retry_after(value: str) -> float:
    """Seconds from now that a Retry-After header says (RFC 9110, 10.2.3); 0 if it says nothing."""
    if re.fullmatch(r"\d{1,12}", value, re.ASCII):
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, OverflowError):
        return 0
