"""What every middleware of ours begins with, and the path below which the service is reached."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send


def route_path(scope: MutableMapping[str, Any]) -> str:
    """The path of a request without the root path: what the routes are named by."""
    path, root = str(scope["path"]), str(scope.get("root_path", ""))
    return path[len(root) :] if path == root or path.startswith(f"{root}/") else path


class Around:
    """Stands around requests; what else a server says to an application (its start, its end) passes by."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        answer = self.answer if scope["type"] == "http" else self.app
        await answer(scope, receive, send)

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request; what the middleware adds."""
        raise NotImplementedError


class BelowRoot(Around):
    """Puts the root path before a path that lacks it: some proxies take it off, others leave it.

    ASGI's path has it, and Starlette's mounts find their files only then.
    """

    def __init__(self, app: ASGIApp, root_path: str) -> None:
        super().__init__(app)
        self.root_path = root_path

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI, of a request."""
        scope["root_path"] = self.root_path
        scope["path"] = self.root_path + route_path(scope)
        await self.app(scope, receive, send)
