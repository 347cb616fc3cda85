"""Who asks, and whose jobs they see."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from contract.jobs import ANONYMOUS, Job


@dataclass(frozen=True)
class Caller:
    """Whoever sent the request; what they ask for is theirs."""

    id: str
    sees_all: bool

    def sees(self, job: Job) -> bool:
        """Whether that job is there, for them; it is told in no other way."""
        return self.sees_all or job.owner == self.id


async def _caller(request: Request) -> Caller:
    """Where nobody is asked who they are, everybody may see everything."""
    client = getattr(request.state, "client", None)
    if client is None:
        return Caller(ANONYMOUS, sees_all=True)
    return Caller(client.id, sees_all="admin" in client.scopes)


Asking = Annotated[Caller, Depends(_caller)]
