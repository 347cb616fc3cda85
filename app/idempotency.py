"""Idempotency-Key: a POST that is sent again is the same request, not another one.

The first request under a key settles what was left open: the random seed, the model's digest, the id of the
job or upload. Later ones with the same body get the same, whether the first one is still under way, was cut
off or is long done: they give the same bytes or the same job. Keys belong to the client that sent them and
are kept for 24 hours.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import uuid
from typing import Annotated, cast

from fastapi import Depends, Request
from pydantic import BaseModel
from redis import Redis

from app.errors import BadRequest, Conflict, InvalidRequest
from app.visits import Visitor, preferences
from contract import keys
from contract.models import PublishedModel

KEPT_SECONDS = 24 * 3600


class Settled(BaseModel):
    """What the first request under a key has settled."""

    fingerprint: str  # of its route, body and preference
    id: str  # of its job or upload: 32 hex digits
    seed: int = 0  # that it drew
    digest: str = ""  # of its model, with the kind of arithmetic

    def check(self, model: PublishedModel) -> None:
        """Raises ``Conflict`` if the model is another one now, which would give other bytes."""
        if self.digest != model.identity:
            raise Conflict(
                f"model {model.name!r} has been replaced, or other workers draw it, since this "
                "Idempotency-Key was first used: use a new key"
            )


class Repeats:
    """The key of one request, if it has one."""

    def __init__(self, key: str | None, client: str, route: str) -> None:
        self.key, self.client, self.route = key, client, route

    def settle(self, redis: Redis, said: str, seed: int = 0, digest: str = "") -> Settled:
        """What the first request under this key has settled; this one, if it is the first or has no key.

        ``said`` is all that the client has said. Raises ``InvalidRequest`` if it said something else then.
        """
        fingerprint = hashlib.sha256(f"{self.route}\n{said}".encode()).hexdigest()
        ours = Settled(fingerprint=fingerprint, id=uuid.uuid4().hex, seed=seed, digest=digest)
        if self.key is None:
            return ours
        kept = keys.idempotency(self.client, hashlib.sha256(self.key.encode()).hexdigest())
        if redis.set(kept, ours.model_dump_json(), nx=True, ex=KEPT_SECONDS):
            return ours
        first = Settled.model_validate_json(cast("str", redis.get(kept)) or ours.model_dump_json())
        if first.fingerprint != fingerprint:
            raise InvalidRequest("Idempotency-Key: it came with another request before, use a new key")
        return first

    async def settle_soon(self, redis: Redis, said: str, seed: int = 0, digest: str = "") -> Settled:
        """The same for a route that must not block."""
        if self.key is None:
            return self.settle(redis, said, seed, digest)
        return await asyncio.to_thread(self.settle, redis, said, seed, digest)


async def repeats(request: Request, visit: Visitor) -> Repeats:
    """The request's key; raises ``BadRequest`` if it is none."""
    key = request.headers.get("idempotency-key")
    if key is not None and not re.fullmatch(r"[\x21-\x7e]{1,255}", key):
        raise BadRequest("Idempotency-Key: give 1 to 255 printable ASCII characters, such as a UUID")
    waits = "" if "respond-async" not in preferences(request) else " respond-async"
    return Repeats(key, visit.client, f"{request.method} {request.url.path}{waits}")


Repeatable = Annotated[Repeats, Depends(repeats)]
