"""Who calls: an API key to a client, and what that client may do.

Routes name in their signatures whom they serve: ``Generates``, ``Trains``, ``Administers``, or ``Known`` for
any valid key. Without a file of keys every caller is ``ANONYMOUS`` and may do all.
"""

from __future__ import annotations

import hmac
import logging
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, Request, Security
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer

from app.errors import Forbidden, Unauthorized
from app.key_file import ApiKey, Scope, hashed, read_keys
from contract.jobs import ANONYMOUS as NOBODY
from contract.jobs import Job

log = logging.getLogger(__name__)

KEY = re.compile(r"vg_([0-9a-f]{8})_[A-Za-z0-9_-]{43}")
NO_HASH = "0" * 64  # of no key that anybody could find

REFUSED: dict[int | str, dict[str, Any]] = {
    401: {"description": "no API key, or one that is not known"},
    403: {"description": "the API key has not the scope that this needs"},
}


@dataclass(frozen=True)
class Client:
    """Who calls."""

    id: str
    name: str
    scopes: frozenset[Scope]
    max_waiting: int | None = None  # images at a time; None: as many as the service takes
    max_jobs: int | None = None  # unfinished jobs

    def may(self, scope: Scope) -> bool:
        """Whether the scope is this client's; ``admin`` has all."""
        return scope in self.scopes or Scope.ADMIN in self.scopes

    @property
    def sees_all(self) -> bool:
        """Whether others' jobs are there for this client as well."""
        return Scope.ADMIN in self.scopes

    def sees(self, job: Job) -> bool:
        """Whether that job is there for this client; it is told in no other way."""
        return self.sees_all or job.owner == self.id


ANONYMOUS = Client(NOBODY, NOBODY, frozenset(Scope))  # sees all, too


class KeyRing:
    """The keys of a file, read again whenever it changes.

    Raises ``ValueError`` if the file cannot be read at first. Later a file that is broken or gone is logged
    once, and the keys that were read before stay: a slip of an editor must neither open nor close the
    service. It is read again with each request until that works: a key may have been revoked in it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._problem = ""  # the one that was logged last
        self._read()

    def client(self, key: str) -> Client | None:
        """Whose key that is; None if it is nobody's."""
        self._look()
        match = KEY.fullmatch(key)
        kept = self._keys.get(match[1]) if match else None
        # Compared in any case, and in constant time: how long it takes tells nothing of ids or hashes.
        equal = hmac.compare_digest(hashed(key), kept.sha256 if kept else NO_HASH)
        return _client(kept) if kept and equal else None

    def _look(self) -> None:
        if _stamp(self.path) == self._stamp:
            return
        try:
            self._read()
            self._problem = ""
        except ValueError as error:
            if str(error) != self._problem:
                log.error("%s; the keys read before stay valid", error)
            self._problem = str(error)

    def _read(self) -> None:
        stamp = _stamp(self.path)  # before the keys: what is written meanwhile is read the next time
        self._keys = {key.id: key for key in read_keys(self.path)}
        self._stamp = stamp  # and only if they could be read


def _stamp(path: Path) -> tuple[int, ...] | None:
    """What changes whenever the file does."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_size


def _client(key: ApiKey) -> Client:
    return Client(key.id, key.name, frozenset(key.scopes), key.max_waiting, key.max_jobs)


_bearer = HTTPBearer(scheme_name="bearer", description="`Authorization: Bearer KEY`", auto_error=False)
_header = APIKeyHeader(
    name="X-API-Key", scheme_name="header", description="`X-API-Key: KEY`", auto_error=False
)


async def known(
    request: Request,
    bearer: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)],
    header: Annotated[str | None, Security(_header)],
) -> Client:
    """Whoever calls, kept as ``request.state.client`` too; raises ``Unauthorized``."""
    ring: KeyRing | None = request.app.state.key_ring
    given = bearer.credentials if bearer else header
    client = ANONYMOUS if ring is None else ring.client(given) if given else None
    if client is None:
        raise Unauthorized(
            "this API key is not known here, or has been revoked: ask for a new one"
            if given
            else "an API key is needed: send `Authorization: Bearer KEY` or `X-API-Key: KEY`"
        )
    request.state.client = client
    return client


Known = Annotated[Client, Depends(known)]


def _needs(scope: Scope) -> Callable[[Client], Awaitable[Client]]:
    async def check(client: Known) -> Client:
        if not client.may(scope):
            raise Forbidden(f"this API key has not the scope `{scope}`: ask for a key that has it")
        return client

    return check


Generates = Annotated[Client, Depends(_needs(Scope.GENERATE))]
Trains = Annotated[Client, Depends(_needs(Scope.TRAIN))]
Administers = Annotated[Client, Depends(_needs(Scope.ADMIN))]
