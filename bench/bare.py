"""``vitgan`` without what keeps images safe, for bench/job_core.py: the same path, but what is lost is lost.

    python -m bench.bare up

No admission, no word of who has taken an order, nobody who asks again, no watch for clients that leave, no
append-only file of the queue.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine
from typing import Any

import app.admission
import app.rescue
import app.visits
import cli.children
import cli.valkey
import worker.images
from app.admission import Gate, Place
from cli.main import app as vitgan


async def enter(self: Gate, client: str, bound: int | None, images: int, pixels: int) -> Place:
    """Everybody is let in."""
    return Place(self, client, images, pixels, held=False)


async def work(self: object, coroutine: Coroutine[Any, Any, Any]) -> Any:
    """To the end, whoever is still there."""
    return await coroutine


async def never(self: object) -> None:
    """Nobody looks."""
    await asyncio.Event().wait()


cli.children.COMMAND = (sys.executable, "-m", "bench.bare")
cli.valkey.KEEPS = ()
app.admission.Gate.enter = enter  # type: ignore[method-assign]
app.rescue.Rescue.look_forever = never  # type: ignore[method-assign]
app.visits.Visit.work = work  # type: ignore[method-assign]
worker.images.tell_taken = lambda redis, order, worker: None

if __name__ == "__main__":
    vitgan()
