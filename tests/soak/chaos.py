"""Faults, one after the other, drawn from the seed: killed, frozen, restarted."""

from __future__ import annotations

import asyncio
import random
import signal
from collections import Counter
from collections.abc import Awaitable, Callable

from tests.faults.stack import Valkey
from tests.soak.stack import Stack

PAUSE = (2.0, 8.0)  # seconds between faults


class Chaos:
    """Until it is cancelled; then everything is let go."""

    def __init__(self, stack: Stack, seed: int) -> None:
        self.stack, self.rng = stack, random.Random(f"chaos {seed}")
        self.done: Counter[str] = Counter()
        self._frozen: set[asyncio.Task[None]] = set()
        self.faults: list[tuple[int, Callable[[], Awaitable[None]]]] = [  # with their weights
            (3, lambda: self.kill("worker")), (2, lambda: self.kill("trainer")),
            (1, lambda: self.kill("api")),
            (2, lambda: self.freeze("worker")), (2, lambda: self.freeze("trainer")),
            (1, lambda: self.freeze("api")),
            (1, lambda: self.restart(stack.jobs, "jobs")), (1, lambda: self.restart(stack.bytes, "bytes")),
            (1, lambda: self.freeze_valkey(stack.jobs, "jobs")),
            (1, lambda: self.freeze_valkey(stack.bytes, "bytes")),
        ]  # fmt: skip

    async def run(self, seconds: float) -> None:
        """Faults for so long, then none."""
        ends = asyncio.get_running_loop().time() + seconds
        while asyncio.get_running_loop().time() < ends:
            await asyncio.sleep(self.rng.uniform(*PAUSE))
            (fault,) = self.rng.choices([f for _, f in self.faults], [weight for weight, _ in self.faults])
            await fault()
        await asyncio.gather(*self._frozen)

    async def kill(self, kind: str) -> None:
        process = self.rng.choice([p for p in self.stack.processes if p.name.startswith(kind)])
        process.signal(signal.SIGKILL)
        self.done[f"{kind} killed"] += 1

    async def freeze(self, kind: str) -> None:
        process = self.rng.choice([p for p in self.stack.processes if p.name.startswith(kind)])
        pid, seconds = process.pid, self.rng.uniform(1, 30)
        process.signal(signal.SIGSTOP)
        self.done[f"{kind} frozen 1 to 30 s"] += 1

        async def thaw() -> None:
            await asyncio.sleep(seconds)
            if process.pid == pid:
                process.signal(signal.SIGCONT)

        task = asyncio.create_task(thaw())
        self._frozen.add(task)
        task.add_done_callback(self._frozen.discard)

    async def restart(self, valkey: Valkey, name: str) -> None:
        await asyncio.to_thread(valkey.kill)
        await asyncio.sleep(self.rng.uniform(0, 4))
        await asyncio.to_thread(valkey.start)
        self.done[f"Valkey of {name} killed"] += 1

    async def freeze_valkey(self, valkey: Valkey, name: str) -> None:
        valkey.freeze()
        await asyncio.sleep(self.rng.uniform(1, 8))
        valkey.thaw()
        self.done[f"Valkey of {name} frozen 1 to 8 s"] += 1
