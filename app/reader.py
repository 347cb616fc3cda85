"""Reads shared folders in a thread of its own, and waits only so long: a mount may stall."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Any, TypeVar, cast

T = TypeVar("T")

PATIENCE_SECONDS = 2.0


class StalledError(Exception):
    """The folder does not answer, and has not told before what was asked."""


class Reader:
    """Asks one after the other. While one does not end, the answers of before are given, at once."""

    def __init__(self, patience: float = PATIENCE_SECONDS) -> None:
        self.patience = patience
        self._asks: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]]] = queue.SimpleQueue()
        self._answers: dict[Hashable, Any] = {}
        self._began: float | None = None  # when the one that runs did
        threading.Thread(target=self._run, name="reader", daemon=True).start()

    @property
    def is_stalled(self) -> bool:
        """Whether one takes too long."""
        began = self._began
        return began is not None and time.monotonic() - began > self.patience

    def ask(self, name: Hashable, read: Callable[[], T]) -> T:
        """What ``read`` gives or raises, or what it gave before under that name; raises ``StalledError``."""
        if not self.is_stalled:
            future: Future[T] = Future()
            self._asks.put((future, read))
            try:
                self._answers[name] = future.result(self.patience)
            except TimeoutError:
                if future.done():  # the system's own word for it
                    raise
                future.cancel()
            except BaseException:
                self._answers.pop(name, None)
                raise
            else:
                return cast(T, self._answers[name])
        if name not in self._answers:
            raise StalledError
        return cast(T, self._answers[name])

    def _run(self) -> None:
        while True:
            future, read = self._asks.get()
            if not future.set_running_or_notify_cancel():
                continue
            self._began = time.monotonic()
            try:
                future.set_result(read())
            except BaseException as error:
                future.set_exception(error)
            self._began = None
