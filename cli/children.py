"""The processes of ``vitgan up``: each in a session of its own, and started again if it ends by itself."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections import deque
from pathlib import Path

from cli.log_files import last_line, rotate

COMMAND = (sys.executable, "-m", "cli")
RESTARTS, WITHIN_SECONDS = 5, 60.0  # so many in that time; one that ends more often has a reason to
PAUSE_SECONDS = 0.5  # before it is started again, doubled with each restart of the last minute


class Child:
    """One process; a Ctrl-C reaches it only through us, and what it says goes to its log."""

    def __init__(self, name: str, command: list[str], env: dict[str, str], logs: Path) -> None:
        self.name, self.command, self.env = name, command, env
        self.log = logs / f"{name}.log"
        self.log.touch()
        self._before = self.log.stat().st_size  # what earlier starts have said
        self._restarts: deque[float] = deque()  # when they were, in the last minute
        self._due: float | None = None  # when it is to be started again
        self._start()

    @property
    def has_ended(self) -> bool:
        """Whether it runs no more."""
        return self.process.poll() is not None

    @property
    def is_hopeless(self) -> bool:
        """Whether it has ended and was started again too often to try once more."""
        return self.has_ended and self._due is None and len(self._recent()) >= RESTARTS

    def look(self) -> str | None:
        """Starts it again if it has ended, after a pause; gives a sentence when there is news."""
        if rotate(self.log):
            self._before = 0
        if not self.has_ended:
            return None
        if self._due is None:
            pause = PAUSE_SECONDS * 2 ** len(self._recent())
            self._due = time.monotonic() + pause
            self._signal_rest(signal.SIGTERM)  # a training of its own saves and ends
            return f"{self.name} ended ({self.last_words()}): it is started again in {pause:g} s"
        if time.monotonic() < self._due:
            return None
        self._due = None
        self._restarts.append(time.monotonic())
        self._start()
        return f"{self.name} is started again"

    def kill_rest(self) -> None:
        """Ends whatever is left of its session."""
        self._signal_rest(signal.SIGKILL)
        self.process.wait()

    def last_words(self) -> str:
        """The last line of its log, or how it ended."""
        if (self.process.returncode or 0) < 0:
            return f"by signal {-self.process.returncode}"
        return last_line(self.log, self._before) or "it said nothing"

    def _start(self) -> None:
        with self.log.open("ab") as file:
            self.process = subprocess.Popen(
                [*COMMAND, *self.command],
                env=self.env, stdout=file, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                start_new_session=True,
            )  # fmt: skip

    def _recent(self) -> deque[float]:
        while self._restarts and self._restarts[0] < time.monotonic() - WITHIN_SECONDS:
            self._restarts.popleft()
        return self._restarts

    def _signal_rest(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)
