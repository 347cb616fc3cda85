"""``vitgan alive``: whether the worker of this host beats, for the health checks of containers."""

from __future__ import annotations

import socket

from redis import RedisError

from contract.presence import alive_on
from contract.reading import read_settings
from contract.redis_client import command_client
from contract.redis_urls import without_password
from contract.settings import SharedSettings


def check_alive(queue: str) -> None:
    """Raises ``ValueError`` with a sentence if no worker of that queue has beaten lately on this host."""
    settings = read_settings(SharedSettings)
    host = socket.gethostname()
    try:
        with command_client(settings.redis_url) as redis:
            beats = alive_on(redis, queue, host)
    except RedisError as error:
        raise ValueError(f"Redis at {without_password(settings.redis_url)}: {error}") from None
    if not beats:
        raise ValueError(f"no worker of {queue} beats on {host}")
