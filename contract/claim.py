"""One Redis serves one data folder: the jobs in it name files there.

Each folder has an id in a file of its own, and Redis keeps the id of the folder that it serves. Two services
on one Redis with a folder each would take each other's jobs.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
from pathlib import Path
from typing import cast

from redis import Redis

from contract import keys
from contract.disk import writing

FILE = "id"


def claim(redis: Redis, folder: Path, place: str) -> None:
    """Tells Redis, by a client with ``decode_responses``, that it serves that folder.

    Raises ``ValueError`` with the remedy if it serves another one, ``DiskError`` if the folder's id cannot be
    written.
    """
    ours = folder_id(folder)
    told = f"{ours} {socket.gethostname()}:{folder.resolve()}"
    before = cast("str | None", redis.set(keys.FOLDER, told, nx=True, get=True))
    theirs, _, where = (before or told).partition(" ")
    if theirs != ours:
        raise ValueError(
            f"Redis at {place} keeps the jobs of another service, whose folder is {where}: give this one a "
            f"database of its own (REDIS_URL=redis://HOST:6379/1), or VITGAN_DATA_DIR={where} if it is the "
            f"same; if that folder is gone for good, `redis-cli DEL {keys.FOLDER}`"
        )


def folder_id(folder: Path) -> str:
    """The folder's id, made if it has none; of two processes that make one at a time the first counts."""
    path = folder / FILE
    if not path.exists():
        new = folder / f".{FILE}-{secrets.token_hex(8)}"
        try:
            with writing(folder):
                new.write_text(f"{secrets.token_hex(16)}\n")
                with contextlib.suppress(FileExistsError):
                    os.link(new, path)
        finally:
            new.unlink(missing_ok=True)
    return path.read_text("ascii", errors="replace").strip()
