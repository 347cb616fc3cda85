"""Idempotency-Key: a POST that is sent again is the same request, not another one.

The first request under a key settles what was left open: the random seed, the model's digest, the id of the
job or upload. Later ones with the same body get the same, whether the first one is still under way, was cut
off or is long done: they give the same bytes or the same job. Keys belong to the client that sent them and
are kept for 24 hours, the newest ``MOST_KEYS`` of a client.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import uuid
from typing import Annotated, cast

from fastapi import Depends, Header, Request
from pydantic import BaseModel
from redis import Redis

from app.asgi import route_path
from app.errors import BadRequest, Conflict, InvalidRequest
from app.visits import Visitor, preferences
from contract import keys
from contract.models import PublishedModel

KEPT_SECONDS = 24 * 3600
MOST_KEYS = 20_000

# Keeps what the first request under a key has settled, and gives what an earlier one has.
# KEYS: the key, all keys of its client. ARGV: what is settled, seconds, the most keys.
_SETTLE = """
local kept = redis.call('GET', KEYS[1])
if kept then return kept end
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
redis.call('ZADD', KEYS[2], now, KEYS[1])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now - ARGV[2])
for _, old in ipairs(redis.call('ZRANGE', KEYS[2], 0, -1 - ARGV[3])) do
  redis.call('DEL', old)
  redis.call('ZREM', KEYS[2], old)
end
redis.call('EXPIRE', KEYS[2], ARGV[2])
return false
"""


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
        args = [ours.model_dump_json(), str(KEPT_SECONDS), str(MOST_KEYS)]
        earlier = redis.eval(_SETTLE, 2, kept, keys.idempotency_of(self.client), *args)
        if earlier is None:
            return ours
        first = Settled.model_validate_json(cast("str", earlier))
        if first.fingerprint != fingerprint:
            raise InvalidRequest("Idempotency-Key: it came with another request before, use a new key")
        return first

    async def settle_soon(self, redis: Redis, said: str, seed: int = 0, digest: str = "") -> Settled:
        """The same for a route that must not block."""
        if self.key is None:
            return self.settle(redis, said, seed, digest)
        return await asyncio.to_thread(self.settle, redis, said, seed, digest)


async def repeats(
    request: Request,
    visit: Visitor,
    key: Annotated[
        str | None,
        Header(
            alias="Idempotency-Key",
            description="names this request: sent again with the same body it gives the same, for 24 hours",
        ),
    ] = None,
) -> Repeats:
    """The request's key; raises ``BadRequest`` if it is none."""
    if key is not None and not re.fullmatch(r"[\x21-\x7e]{1,255}", key):
        raise BadRequest("Idempotency-Key: give 1 to 255 printable ASCII characters, such as a UUID")
    waits = "" if "respond-async" not in preferences(request) else " respond-async"
    return Repeats(key, visit.client, f"{request.method} {route_path(request.scope)}{waits}")


Repeatable = Annotated[Repeats, Depends(repeats)]
