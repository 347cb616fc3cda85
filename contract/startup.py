"""What a process looks at before it begins: better one sentence at the start than many failures later."""

from __future__ import annotations

import os
import ssl
import time
from pathlib import Path
from typing import Any

from redis import AuthenticationError, Redis, RedisError

from contract.claim import claim
from contract.disk import probe
from contract.redis_client import command_client, refusal
from contract.redis_urls import without_password
from contract.settings import SharedSettings

OLDEST_REDIS = (7, 0)  # its scripts may be refused as a whole when memory is full
MAX_SKEW_SECONDS = 5.0  # images have deadlines by the clock of the host that asks for them


def check_start(settings: SharedSettings) -> None:
    """Raises ``ValueError`` with a sentence if the service cannot work here; Redis may be away."""
    check_folder(settings.data_dir)
    for url in dict.fromkeys([settings.redis_url, settings.bytes_url]):
        place = without_password(url)
        with command_client(url) as redis:
            if not check_redis(redis, place) and url == settings.redis_url:
                claim(redis, settings.data_dir, place)


def check_folder(folder: Path) -> None:
    """Makes it, for this user alone, if it is not there; raises ``ValueError`` if no file can be written."""
    try:
        probe(folder)
    except OSError as error:
        raise ValueError(
            f"cannot write to {folder}: {error.strerror}; give VITGAN_DATA_DIR a folder with room that user "
            f"{os.getuid()} may write to"
        ) from None


def check_redis(redis: Redis, place: str) -> str:
    """Why that Redis does not answer, or nothing if it does.

    Raises ``ValueError`` if it answers, but is none that the service can rely on.
    """
    try:
        before = time.time()
        seconds, microseconds = redis.time()
        after = time.time()
        info = redis.info()
    except AuthenticationError as error:
        raise ValueError(
            f"Redis at {place} refuses the password ({error}): set VITGAN_REDIS_PASSWORD"
        ) from None
    except RedisError as error:
        cause = error.__cause__ or error.__context__
        if said := refusal(error) or (f"no TLS, {cause}" if isinstance(cause, ssl.SSLError) else ""):
            raise ValueError(f"Redis at {place} refuses us ({said}): see REDIS_URL") from None
        hint = "; does it speak TLS? redis:// is for one that does not" if "rediss:" in place else ""
        return f"{error}{hint}"
    _check_kind(info, place)
    skew = seconds + microseconds / 1e6 - (before + after) / 2
    if abs(skew) > MAX_SKEW_SECONDS + (after - before):
        raise ValueError(
            f"the clock of Redis at {place} is {abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} this "
            "host's: set both by NTP, images have deadlines"
        )
    return ""


def _check_kind(info: dict[str, Any], place: str) -> None:
    """Raises ``ValueError`` if a Redis that says this of itself could lose or refuse what we write."""
    if info.get("cluster_enabled"):
        raise ValueError(
            f"Redis at {place} is a node of a cluster, which parts keys that belong together: give a "
            "single server"
        )
    if info.get("role") == "slave":
        raise ValueError(f"Redis at {place} is a replica, which takes no orders: give its primary")
    version = str(info["redis_version"])  # which Valkey tells too: the Redis that it is like
    if tuple(map(int, version.split(".")[:2])) < OLDEST_REDIS:
        raise ValueError(f"Redis at {place} is version {version}: 7.0 or newer is needed")
    if str(info["maxmemory_policy"]).startswith("allkeys"):
        raise ValueError(
            f"Redis at {place} throws jobs away when its memory is full: set its maxmemory-policy to "
            "noeviction"
        )
