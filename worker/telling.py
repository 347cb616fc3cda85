"""Words that must arrive: how a job ended."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from redis import RedisError

log = logging.getLogger(__name__)

RETRY_SECONDS = 1.0


def until_told(tell: Callable[[], bool], stopping: threading.Event) -> None:
    """Says it until Redis has heard it: an outage never turns a success into a failure.

    A worker that is stopped meanwhile gives up. Then the lease runs out, and whoever claims the job next
    finds what is done and says so.
    """
    while True:
        try:
            tell()
            return
        except RedisError as error:
            log.warning("Redis does not answer, said again in %g s: %s", RETRY_SECONDS, error)
        if stopping.wait(RETRY_SECONDS):
            return
