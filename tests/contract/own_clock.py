"""A clock for the job machine's scripts that a test moves as it likes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from redis import Redis
from redis.commands.core import Script

CLOCK = "test:clock"  # Unix seconds


class OwnClock(Redis):
    """A client whose scripts read the test's clock, and can be interrupted between one and the next."""

    interrupt: Callable[[], None] | None = None

    def register_script(self, script: Any) -> Script:
        moved = script.replace("redis.call('TIME')", f"{{redis.call('GET', '{CLOCK}'), 0}}")
        registered = super().register_script(moved)

        def call(*args: Any, **named: Any) -> Any:
            answer = registered(*args, **named)
            if self.interrupt:
                interrupt, self.interrupt = self.interrupt, None
                interrupt()
            return answer

        return call  # type: ignore[return-value]
