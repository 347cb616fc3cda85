"""Around every request: its id, and limits on its body."""

from __future__ import annotations

import asyncio
import re
import uuid

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.asgi import Around, route_path
from app.errors import BadRequest, TooLarge, TooSlow, Unavailable, problem
from app.settings import AppSettings

JSON_BYTES = 256 * 1024  # ten thousand seeds of ten digits are 120 KB
MULTIPART_EXTRA = 64 * 1024  # what the fields and boundaries around an upload may add
SLOWEST = 1024  # bytes a second of a body, on average: a byte now and then must not hold a place for ever
LENGTH = re.compile(r"[0-9]{1,18}")
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class RequestId(Around):
    """Takes the client's X-Request-ID or makes one, and tells it in the answer."""

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI, of a request."""
        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["X-Request-ID"] = request_id
            await send(message)

        await self.app(scope, receive, send_with_id)


class Ending(Around):
    """Refuses what has no answer yet when the service stops; uvicorn cancels it, and would answer 500."""

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI, of a request."""
        begun = False

        async def send_noted(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self.app(scope, receive, send_noted)
        except asyncio.CancelledError:
            if begun:
                raise
            error = Unavailable("the service stops: try again in a few seconds", reason="stopping")
            answer = problem(error.status, error.title, error.detail, Request(scope), reason=error.reason)
            answer.headers.update(error.headers)
            await answer(scope, receive, send)


class BodyLimit(Around):
    """Refuses a body that is too large, whatever Content-Length says, too slow, or broken off.

    Once the answer has begun nobody reads the body, and nothing of it is looked at any more.
    """

    def __init__(self, app: ASGIApp, settings: AppSettings) -> None:
        super().__init__(app)
        self.settings = settings

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI, of a request."""
        upload = route_path(scope) == "/datasets"
        body = Body(
            receive,
            declared=Headers(scope=scope).get("content-length", "0"),
            limit=self.settings.max_upload_bytes + MULTIPART_EXTRA if upload else JSON_BYTES,
            seconds=self.settings.body_seconds,
        )

        async def send_noted(message: Message) -> None:
            body.wanted = False
            await send(message)

        await self.app(scope, body.receive, send_noted)


class Body:
    """One request's body on its way."""

    def __init__(self, receive: Receive, declared: str, limit: int, seconds: float) -> None:
        self._receive, self.declared, self.limit, self.seconds = receive, declared, limit, seconds
        self.wanted = True  # until it is complete, or the answer has begun
        self.taken = 0
        self.began: float | None = None

    async def receive(self) -> Message:
        """The next part; raises ``TooLarge``, ``TooSlow`` or ``BadRequest``."""
        if not self.wanted:
            return await self._receive()
        self._check(int(self.declared) if LENGTH.fullmatch(self.declared) else None)
        message = await self._in_time()
        self._check(self.taken + len(message.get("body", b"")))
        self.taken += len(message.get("body", b""))
        if message["type"] == "http.disconnect":
            raise BadRequest(f"the body broke off after {self.taken} bytes: send all of it")
        self.wanted = message.get("more_body", False)
        return message

    def _check(self, length: int | None) -> None:
        if length is None:
            raise BadRequest("Content-Length: give the number of the body's bytes")
        if length > self.limit:
            raise TooLarge(f"the body is over {self.limit} bytes: send less")

    async def _in_time(self) -> Message:
        now = asyncio.get_running_loop().time()
        self.began = self.began or now
        until = min(now, self.began + self.taken / SLOWEST) + self.seconds
        try:
            async with asyncio.timeout_at(until):
                return await self._receive()
        except TimeoutError:
            raise TooSlow(
                f"the body stopped after {self.taken} bytes: send the next part within {self.seconds:g} s, "
                f"and {SLOWEST} bytes a second or more"
            ) from None
