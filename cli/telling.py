"""What a training says while it runs: one line that is written over on a terminal, calm lines elsewhere."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

CALM_SECONDS = 30.0  # between two lines in a file or another program's log


def say(text: str, *, error: bool = False, end: str = "\n") -> None:
    """Prints to standard output or error at once; what nobody can read any more ends no training."""
    stream = sys.stderr if error else sys.stdout
    try:
        print(text, end=end, file=stream, flush=True)
    except OSError:  # the terminal is closed, or the reader of the pipe is gone
        nowhere = Path(os.devnull).open("w")  # noqa: SIM115
        if error:
            sys.stderr = nowhere
        else:
            sys.stdout = nowhere


class Lines:
    """Progress as lines of text."""

    def __init__(self, *, error: bool = False) -> None:
        self._error, self._shown = error, float("-inf")
        self._terminal = (sys.stderr if error else sys.stdout).isatty()

    def show(self, line: str, *, now: bool = False, last: bool = False) -> None:
        """Shows it; without a terminal only every half minute, or if it is the last or must be seen now."""
        if self._terminal:
            say(f"\r{line}\033[K", error=self._error, end="\n" if last else "")
        elif now or last or time.monotonic() - self._shown >= CALM_SECONDS:
            self._shown = time.monotonic()
            say(line, error=self._error)
