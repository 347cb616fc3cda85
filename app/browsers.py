"""What browsers are told: what an answer may do, who may show it, and whose pages may read it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.asgi import Around, route_path
from app.auth import ANONYMOUS
from app.errors import Forbidden, problem

EXPOSED = (
    "ETag", "Link", "Location", "Retry-After", "Server-Timing", "X-Model", "X-Request-ID", "X-Seed",
)  # fmt: skip
OPEN = "/iiif/"  # viewers stand on pages of other sites
SHOWN = (OPEN, "/images/")  # what other sites' pages may show


class SecurityHeaders(Around):
    """Sets what keeps an answer from doing harm in a browser, where a route sets nothing of its own."""

    HEADERS: ClassVar = {
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "Referrer-Policy": "no-referrer",
    }
    NOTHING = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    POLICY = f"{NOTHING}; style-src 'unsafe-inline'"  # a browser that shows a picture alone lays it out so

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI, of a request."""

        async def send_safe(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._add(MutableHeaders(scope=message), scope)
            await send(message)

        await self.app(scope, receive, send_safe)

    def _add(self, headers: MutableHeaders, scope: Scope) -> None:
        headers.update(self.HEADERS)
        headers.setdefault("Content-Security-Policy", self.POLICY)
        shown = route_path(scope).startswith(SHOWN)
        headers.setdefault("Cross-Origin-Resource-Policy", "cross-origin" if shown else "same-origin")
        if scope["state"].get("client", ANONYMOUS) is not ANONYMOUS:
            # What a key opened is for its holder: a proxy's cache would give it to everybody.
            told = headers.get("Cache-Control", "no-cache").removeprefix("public, ")
            headers["Cache-Control"] = f"private, {told}"


class CrossOrigin(Around):
    """Lets pages of any site read what lies under /iiif/, refusals too, as viewers need it (CORS).

    Pages of ``origins`` may call all other routes as well; a key they must have like everybody. Other pages
    change nothing here: a browser would send a form of theirs, an upload too, without asking first.
    """

    HEADERS: ClassVar = {
        "Access-Control-Allow-Origin": "*",
        "Access-Control-Allow-Methods": "GET, HEAD, OPTIONS",
        "Access-Control-Allow-Headers": "*, Authorization",  # which * does not mean
        "Access-Control-Expose-Headers": ", ".join(EXPOSED),
    }

    def __init__(self, app: ASGIApp, origins: Sequence[str]) -> None:
        super().__init__(app)
        self.origins = origins
        self.others = app
        if origins:
            self.others = CORSMiddleware(
                app,
                allow_origins=origins,
                allow_methods=("GET", "HEAD", "POST", "DELETE"),
                allow_headers=("*",),
                expose_headers=EXPOSED,
            )

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI, of a request."""

        async def send_open(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(self.HEADERS)
            await send(message)

        if route_path(scope).startswith(OPEN):
            await self.app(scope, receive, send_open)
        elif self._is_foreign(scope):
            detail = (
                "pages of other sites may change nothing here: the setting VITGAN_CORS_ORIGINS names "
                "sites, and a proxy must pass on the Host header"
            )
            answer = problem(Forbidden.status, Forbidden.title, detail, Request(scope))
            await answer(scope, receive, send)
        else:
            await self.others(scope, receive, send)

    def _is_foreign(self, scope: Scope) -> bool:
        """Whether a page of a site that is not named sends what may change something, as its browser says.

        Where the service is reached by plain HTTP, browsers leave Sec-Fetch-Site out: then Origin or Referer
        must name this host. Programs send none of the three.
        """
        headers = Headers(scope=scope)
        if scope["method"] in ("GET", "HEAD", "OPTIONS") or {"*", headers.get("origin")} & set(self.origins):
            return False
        if said := headers.get("sec-fetch-site"):
            return said not in ("same-origin", "none")
        page = headers.get("origin") or headers.get("referer")
        return page is not None and not is_same_host(page, headers.get("host", ""))


def is_same_host(page: str, host: str) -> bool:
    """Whether a page, known by its origin or URL, comes from that Host."""
    try:
        theirs = urlsplit(page)
        ours = urlsplit(f"//{host}")
        default = {"http": 80, "https": 443}.get(theirs.scheme)
        same_port = (theirs.port or default) == (ours.port or default)
        return bool(theirs.hostname) and theirs.hostname == ours.hostname and same_port
    except ValueError:
        return False
