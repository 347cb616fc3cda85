"""Which names of this service a request may come under, against DNS rebinding.

The page of a name that its owner lets lead here, after it was loaded from elsewhere, is of the same origin as
the service for a browser. An address in the place of a name cannot be turned round like that.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from app.asgi import Around
from app.errors import Forbidden, problem


class Hosts(Around):
    """Refuses requests under other names than ``names`` and this machine's own; None lets all pass."""

    def __init__(self, app: ASGIApp, names: Sequence[str] | None) -> None:
        super().__init__(app)
        self.names = None if names is None or "*" in names else frozenset(name.lower() for name in names)

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI, of a request."""
        host = Headers(scope=scope).get("host", "")
        if self.names is None or not host or is_fixed(name := name_of(host)) or name in self.names:
            await self.app(scope, receive, send)
            return
        detail = (
            f"nothing is served here under the name {name[:100]!r}: use localhost or an address, or have the "
            "service told the name by the setting VITGAN_ALLOWED_HOSTS"
        )
        await problem(Forbidden.status, Forbidden.title, detail, Request(scope))(scope, receive, send)


def name_of(host: str) -> str:
    """A Host header without its port, in small letters."""
    try:
        return (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return host


def is_fixed(name: str) -> bool:
    """Whether that name is an IP address or a name of this machine, which no DNS server of others can set."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name == "localhost" or name.endswith(".localhost")
    return True
