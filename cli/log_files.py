"""Logs of the processes of ``vitgan up``: they outlive a start, and never grow without bound."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

MOST_BYTES = 10 * 2**20  # of one file, give or take what is written in one look at it
KEPT = 3  # older ones beside it: api.log.1 is the newest
LAST_WORDS = 4096  # bytes at the end that are looked at


def rotate(log: Path) -> bool:
    """Moves what is in a log that is full to the next older file; True if it was.

    The process goes on writing to the same file, so it is copied and emptied: what is written in between is
    lost. A full disk leaves it as it is.
    """
    with contextlib.suppress(OSError):
        if log.stat().st_size <= MOST_BYTES:
            return False
        for number in range(KEPT - 1, 0, -1):
            with contextlib.suppress(FileNotFoundError):
                older(log, number).replace(older(log, number + 1))
        shutil.copyfile(log, older(log, 1))
        os.truncate(log, 0)
        return True
    return False


def older(log: Path, number: int) -> Path:
    """Where what was in the log before has gone."""
    return log.with_name(f"{log.name}.{number}")


def last_line(log: Path, since: int) -> str:
    """The last line of what was written after the first ``since`` bytes, if there is one."""
    with log.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(since if since <= size else 0, size - LAST_WORDS))
        lines = file.read().decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else ""
