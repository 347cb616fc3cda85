"""Texts (the page, JSON, metrics) are sent compressed, and revalidated unless a route says otherwise."""

from __future__ import annotations

from starlette.datastructures import MutableHeaders
from starlette.middleware.gzip import DEFAULT_EXCLUDED_CONTENT_TYPES, GZipMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.asgi import Around

SMALLEST = 1000  # bytes; what is shorter fits into a packet anyway
LEVEL = 6  # of zlib
PACKED = (*DEFAULT_EXCLUDED_CONTENT_TYPES, "image/apng")  # already
TEXTS = ("text/", "application/json", "application/ld+json", "application/problem+json", "image/svg")


class Texts(Around):
    """gzip for who accepts it; pictures, zips and events go through as they are."""

    def __init__(self, app: ASGIApp) -> None:
        super().__init__(
            GZipMiddleware(app, minimum_size=SMALLEST, compresslevel=LEVEL, exclude_content_types=PACKED)
        )

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI, of a request."""

        async def send_described(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.setdefault("Cache-Control", "no-cache")
                if _may_be_packed(headers) and "Accept-Encoding" not in headers.get("vary", ""):
                    headers.add_vary_header("Accept-Encoding")  # of HEAD and of short ones too
            await send(message)

        await self.app(scope, receive, send_described)


def _may_be_packed(headers: MutableHeaders) -> bool:
    media = headers.get("content-type", "")
    return media.startswith(TEXTS) and not media.startswith("text/event-stream")
