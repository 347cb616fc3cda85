"""Around every request: counted, timed, and its id bound for the log."""

from __future__ import annotations

import asyncio
import logging
import time

from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive, Scope, Send
from structlog.contextvars import bind_contextvars, clear_contextvars

from app.asgi import Around
from app.metrics import ANSWERS_CUT, REQUEST_SECONDS, REQUESTS, REQUESTS_IN_PROGRESS, SENT_BYTES
from contract.metrics import METHODS

log = logging.getLogger(__name__)

OTHER = "other"  # of a path that no route has, or a method that HTTP does not have


class Measuring(Around):
    """Counts answers by the route's template, never by the path. Stands below what gives a request its id."""

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI, of a request."""
        request_id = scope.get("state", {}).get("request_id", "")
        clear_contextvars()  # of the request before this one, where the connection's task is the same
        bind_contextvars(request_id=request_id)
        answer = _Answer(send)
        REQUESTS_IN_PROGRESS.inc()
        try:
            await self.app(scope, receive, answer.send)
        except (asyncio.CancelledError, ClientDisconnect):
            answer.ended("client", code=499)
            raise
        except Exception:
            answer.ended("service", code=500)
            raise
        else:
            answer.ended("client", code=499)  # if it is not whole, whoever waited for it has left
        finally:
            REQUESTS_IN_PROGRESS.dec()
            _count(scope, answer, request_id)


class _Answer:
    """What has been sent of one answer."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._whole = False
        self.code = 0  # 0: nothing yet
        self.started = time.perf_counter()

    async def send(self, message: Message) -> None:
        """ASGI."""
        await self._send(message)
        if message["type"] == "http.response.start":
            self.code = message["status"]
        elif message["type"] == "http.response.body":
            SENT_BYTES.inc(len(message.get("body", b"")))
            self._whole = not message.get("more_body", False)

    def ended(self, by: str, code: int) -> None:
        """Nothing more is sent: ``by`` whom, if it is not whole; ``code`` if it never began."""
        if self.code and not self._whole:
            ANSWERS_CUT.labels(by=by).inc()
            if by == "service":
                log.warning("an answer was broken off")
        self.code = self.code or code


def _count(scope: Scope, answer: _Answer, request_id: str) -> None:
    seconds = time.perf_counter() - answer.started
    route, method = template(scope), scope["method"]
    REQUESTS.labels(route=route, method=method if method in METHODS else OTHER, code=str(answer.code)).inc()
    REQUEST_SECONDS.labels(route=route).observe(seconds, {"request_id": request_id})
    log.debug("%s %s %d in %.0f ms", method, scope["path"], answer.code, seconds * 1000)


def template(scope: Scope) -> str:
    """The path of the route that has answered, as the code has it."""
    if route := scope.get("route"):
        return str(route.path)
    # FastAPI names no route where none of its own has answered: /openapi.json, files below a mount.
    endpoint = scope.get("endpoint")
    for route in scope["app"].routes if endpoint else ():
        if endpoint in (getattr(route, "endpoint", None), getattr(route, "app", None)):
            return str(route.path)
    return OTHER
