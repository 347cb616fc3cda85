"""Around every request: its id, a limit on its body, and whom a browser lets read the answer."""

from __future__ import annotations

import re
import uuid
from typing import ClassVar

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import TooLarge
from app.settings import AppSettings

JSON_BYTES = 64 * 1024
MULTIPART_EXTRA = 64 * 1024  # what the fields and boundaries around an upload may add
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class RequestId:
    """Takes the client's X-Request-ID or makes one, and tells it in the answer."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["X-Request-ID"] = request_id
            await send(message)

        await self.app(scope, receive, send_with_id)


class BodyLimit:
    """Refuses a body over the limit while it is read, whatever Content-Length says."""

    def __init__(self, app: ASGIApp, settings: AppSettings) -> None:
        self.app, self.settings = app, settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        upload = scope["path"] == "/datasets"
        limit = self.settings.max_upload_bytes + MULTIPART_EXTRA if upload else JSON_BYTES
        declared = Headers(scope=scope).get("content-length", "0")
        taken = int(declared) if declared.isdigit() and int(declared) > limit else 0

        async def receive_limited() -> Message:
            nonlocal taken
            if taken <= limit:
                message = await receive()
                taken += len(message.get("body", b""))
            if taken > limit:
                raise TooLarge(f"the body is over {limit} bytes: send less")
            return message

        await self.app(scope, receive_limited, send)


class OpenToPages:
    """Lets pages of any site read what lies under /iiif/, refusals too, as viewers need it (CORS)."""

    HEADERS: ClassVar = {
        "Access-Control-Allow-Origin": "*",
        "Access-Control-Allow-Methods": "GET, HEAD, OPTIONS",
        "Access-Control-Allow-Headers": "*",
        "Access-Control-Expose-Headers": "ETag, Link, X-Model, X-Request-ID, X-Seed",
    }

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""

        async def send_open(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(self.HEADERS)
            await send(message)

        is_open = scope["type"] == "http" and scope["path"].startswith("/iiif/")
        await self.app(scope, receive, send_open if is_open else send)
