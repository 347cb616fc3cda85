"""Faults at random: processes killed and frozen, Valkey too; what is dead is started again after a pause."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable

from tests.soak.stack import Stack

EVERY = (1.0, 6.0)  # seconds from one fault to the next
FREEZE = (1.0, 30.0)
DEAD = (0.5, 5.0)
TRAININGS = ["training-0", "training-1"]


class Chaos(threading.Thread):
    """One fault after the other; those before may still last. ``stop`` ends all of them."""

    def __init__(self, stack: Stack, seed: int, stop: threading.Event) -> None:
        super().__init__(name="chaos")
        self.stack, self.stopping = stack, stop
        self.random = random.Random(f"{seed} chaos")
        self.faults: Counter[str] = Counter()
        self.until: dict[str, tuple[float, Callable[[], None]]] = {}  # what is dead or frozen, and its cure

    def run(self) -> None:
        due = time.monotonic() + 3
        while not self.stopping.wait(0.2):
            self.cure(time.monotonic())
            if time.monotonic() >= due:
                self.fault()
                due = time.monotonic() + self.random.uniform(*EVERY)
        self.cure(float("inf"))

    def cure(self, now: float) -> None:
        """Ends the faults that have lasted long enough."""
        for name, (ends, cure) in list(self.until.items()):
            if ends <= now:
                del self.until[name]
                cure()

    def fault(self) -> None:
        name = self.random.choice([*self.stack.names, "valkey", *TRAININGS])
        kills = self.random.random() < 0.5
        seconds = self.random.uniform(*(DEAD if kills else FREEZE))
        if name in self.until:
            return
        kind = name.split("-")[0]
        self.faults[f"{kind} {'killed' if kills else 'frozen'}"] += 1
        if not kills:
            if pid := self.pid(name):
                os.kill(pid, signal.SIGSTOP)
                self.until[name] = (time.monotonic() + seconds, lambda: thaw(pid))
        elif name == "valkey":
            self.stack.valkey.kill()
            self.until[name] = (time.monotonic() + seconds, self.stack.valkey.start)
        else:
            self.stack.signal(name, signal.SIGKILL)
            if name in self.stack.names:
                self.until[name] = (time.monotonic() + seconds, lambda: self.stack.start(name))

    def pid(self, name: str) -> int:
        try:
            return self.stack.pid(name)
        except (KeyError, IndexError):
            return 0  # no training runs


def thaw(pid: int) -> None:
    """By its id: what started it may be dead by now."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)
