"""A run's folder: one training at a time writes into it."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from model.watch import unwritable

LOCK = ".lock"


@contextmanager
def held(run: Path) -> Iterator[None]:
    """Makes the folder and holds it until the end; it goes again if nothing was written into it.

    Raises ``ValueError`` if it cannot be made or written to, or if another training holds it.
    """
    try:
        made = not run.exists()
        run.mkdir(parents=True, exist_ok=True)
        lock = (run / LOCK).open("a+")
    except OSError as error:
        raise ValueError(f"{unwritable(error)}: give another --out") from None
    with lock:
        _take(lock.fileno(), run)
        try:
            yield
        finally:
            if made and [path.name for path in run.iterdir()] == [LOCK]:
                (run / LOCK).unlink()
                run.rmdir()


def _take(lock: int, run: Path) -> None:
    """Locks the file, and writes into it who did; the lock ends with the process."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(lock, 0)
        os.write(lock, f"{os.getpid()}\n".encode())  # which also finds out whether the disk is full
    except BlockingIOError:
        holder = (run / LOCK).read_text().strip()
        raise ValueError(
            f"another training (process {holder}) writes into {run}: wait for its end, or give another --out"
        ) from None
    except OSError as error:
        error.filename = str(run / LOCK)
        raise ValueError(f"{unwritable(error)}: give another --out") from None
