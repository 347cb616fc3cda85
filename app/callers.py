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
    max_waiting: int | None = None  # images that they may have under way; None: as many as the service
    max_jobs: int | None = None  # jobs of theirs that may be unfinished

    def sees(self, job: Job) -> bool:
        """Whether that job is there, for them; it is told in no other way."""
        return self.sees_all or job.owner == self.id


async def _caller(request: Request) -> Caller:
    """Where nobody is asked who they are, everybody may see everything."""
    client = getattr(request.state, "client", None)
    if client is None:
        return Caller(ANONYMOUS, sees_all=True)
    return Caller(client.id, "admin" in client.scopes, client.max_waiting, client.max_jobs)


Asking = Annotated[Caller, Depends(_caller)]
