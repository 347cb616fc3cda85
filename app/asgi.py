"""What every middleware of ours begins with."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send


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
