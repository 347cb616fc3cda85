"""Uploads take turns: few are taken at a time, and fewer are checked.

Each is a nameless file in the folder of datasets while it comes and waits, of ``VITGAN_MAX_UPLOAD_BYTES`` at
most. The threads that check are counted apart from all others, so that nothing else waits for them.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from typing import TypeVar

from anyio import CapacityLimiter, to_thread

from app.errors import QuotaUsed, Unavailable

T = TypeVar("T")

CHECKED_AT_ONCE = 2  # one of each client: memory and processor time
MOST_OF_A_CLIENT, MOST = 8, 32  # that come or wait
RETRY_SECONDS = 10


class Uploads:
    """The uploads that one API process takes and checks."""

    def __init__(self) -> None:
        self._limiter = CapacityLimiter(CHECKED_AT_ONCE)
        self._open: Counter[str] = Counter()
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    @contextlib.contextmanager
    def enter(self, client: str) -> Iterator[None]:
        """One more upload of that client; raises ``QuotaUsed`` or ``Unavailable``, before it is read."""
        if self._open[client] >= MOST_OF_A_CLIENT:
            raise QuotaUsed(
                f"{MOST_OF_A_CLIENT} uploads of yours are under way already: wait for one of them",
                RETRY_SECONDS,
                reason="quota_uploads",
            )
        if self._open.total() >= MOST:
            raise Unavailable(
                f"{MOST} uploads are under way already: try again later",
                RETRY_SECONDS,
                reason="uploads_waiting",
            )
        self._open[client] += 1
        try:
            yield
        finally:
            self._open[client] -= 1
            if not self._open[client]:
                del self._open[client]
                self._turns.pop(client, None)

    async def check(self, client: str, work: Callable[[], T]) -> T:
        """Runs it in a thread when it is that client's turn; clients take turns."""
        async with self._turns[client]:
            return await to_thread.run_sync(work, limiter=self._limiter)
