"""Who asks for an image, how long it waits for it, and whether it is still there."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Request

from app.auth import Known
from app.errors import ClientLeft

Result = TypeVar("Result")


PREFER = {  # as OpenAPI describes the header
    "name": "Prefer",
    "in": "header",
    "required": False,
    "description": "`respond-async`: a job instead of the file; `wait=10`: how many seconds you wait for "
    "it to begin (RFC 7240)",
    "schema": {"type": "string", "examples": ["respond-async"]},
}


@dataclass(frozen=True)
class Visit:
    """One request's client."""

    request: Request
    client: str
    bound: int | None  # images that it may have under way; None: as many as the service
    wait: float | None  # seconds it waits for an image to begin, if it says so

    async def work(self, coroutine: Coroutine[Any, Any, Result]) -> Result:
        """Runs it while the client is there; raises ``ClientLeft`` when it has gone."""
        work = asyncio.ensure_future(coroutine)
        left = asyncio.create_task(self._left())
        try:
            await asyncio.wait({work, left}, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                return work.result()
            raise ClientLeft("the client has closed the connection")
        finally:
            for task in (work, left):
                task.cancel()
            await asyncio.gather(work, left, return_exceptions=True)

    async def _left(self) -> None:
        while (await self.request.receive())["type"] != "http.disconnect":
            continue


def preferences(request: Request) -> dict[str, str]:
    """What the client prefers (RFC 7240): lower-case names to values, '' where there is none."""
    found: dict[str, str] = {}
    for one in ",".join(request.headers.getlist("prefer")).split(","):
        name, _, value = one.partition(";")[0].partition("=")
        found.setdefault(name.strip().lower(), value.strip().strip('"'))
    return found


async def visit(request: Request, client: Known) -> Visit:
    """The request's client. ``Prefer: wait=10`` says that it waits ten seconds for an image to begin."""
    wait = preferences(request).get("wait", "")
    seconds = float(wait) if re.fullmatch(r"[1-9][0-9]{0,8}", wait) else None
    return Visit(request, client.id, client.max_waiting, seconds)


Visitor = Annotated[Visit, Depends(visit)]
