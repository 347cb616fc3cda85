"""What the soak torments: two Valkeys, two APIs, two image workers, two training workers."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from redis import Redis

from contract.presence import alive as workers_alive
from contract.queue import GENERATE, TRAIN
from tests.acceptance.conftest import alive
from tests.conftest import free_port, write_pictures
from tests.faults.stack import Valkey, is_gone

LEFT_SECONDS = 40  # longer than anything is frozen


class Process:
    """One ``vitgan`` command that is started again after a pause whenever it ends."""

    def __init__(self, name: str, command: list[str], env: dict[str, str], log: Path) -> None:
        self.name, self.command, self.env, self.log = name, command, env, log
        self.starts = 0
        self.due = 0.0  # when it may be started
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        with self.log.open("ab") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "cli", *self.command], env=self.env, stdout=file, stderr=file
            )
        self.starts += 1

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    @property
    def runs(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)


class Stack:
    """All of it, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.data = folder, folder / "var"
        (folder / "logs").mkdir(parents=True)
        pictures = write_pictures(self.data / "datasets" / "colours" / "pictures.zip")
        (pictures.parent / "info.json").write_text('{"name": "colours"}')
        self.jobs, self.bytes = Valkey(folder / "valkey"), Valkey(folder / "valkey-bytes")
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("VITGAN_", "REDIS_"))}
        self.env = clean | {
            "REDIS_URL": self.jobs.url, "VITGAN_BYTES_REDIS_URL": self.bytes.url,
            "VITGAN_DATA_DIR": str(self.data), "VITGAN_TICK_KIMG": "0.032", "VITGAN_THREADS": "1",
            "VITGAN_LEFTOVER_SECONDS": str(LEFT_SECONDS), "VITGAN_MAX_WAITING": "64",
            "VITGAN_ANSWER_SECONDS": "40",
            "OMP_NUM_THREADS": "1", "VITGAN_CACHE_DIR": str(folder / "cache"),
        }  # fmt: skip
        self.ports = [free_port(), free_port()]
        commands = [(f"api-{n}", ["api", "--port", str(port)]) for n, port in enumerate(self.ports)]
        commands += [(f"{kind}-{n}", [kind]) for kind in ("worker", "trainer") for n in range(2)]
        self.processes = [Process(name, words, self.env, folder / "logs" / name) for name, words in commands]

    @property
    def redis(self) -> Redis:
        return self.jobs.redis

    async def keep_forever(self, pause: Callable[[], float]) -> None:
        """Starts again what has ended, a while after it has."""
        while True:
            for process in self.processes:
                if not process.runs and not process.due:
                    process.due = time.monotonic() + pause()
                elif not process.runs and time.monotonic() > process.due:
                    process.due = 0.0
                    process.start()
            await asyncio.sleep(0.1)

    def ready(self) -> bool:
        """Whether everything runs and beats."""
        return (
            self.jobs.answers()
            and self.bytes.answers()
            and all(process.runs for process in self.processes)
            and workers_alive(self.redis, GENERATE) == workers_alive(self.redis, TRAIN) == 2
        )

    def restart(self) -> None:
        """SIGTERM to all, then all anew: what was left is swept."""
        started = time.monotonic()
        for process in self.processes:
            process.signal(signal.SIGTERM)
        for process in self.processes:
            assert process.process is not None
            process.process.wait(20)
        print(f"all processes ended {time.monotonic() - started:.1f} s after SIGTERM")
        for process in self.processes:
            process.start()

    def stop(self) -> list[str]:
        """Ends everything; gives what of it is left."""
        family = self.family()
        for process in self.processes:
            process.signal(signal.SIGTERM)
        for process in self.processes:
            assert process.process is not None
            process.process.wait(20)
        self.jobs.stop()
        self.bytes.stop()
        return [f"{pid} {name}" for pid, name in family.items() if not is_gone(pid)]

    def family(self) -> dict[int, str]:
        """Every process that has our data folder in its environment."""
        mark, found = f"VITGAN_DATA_DIR={self.data}".encode(), {}
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if mark in (folder / "environ").read_bytes().split(b"\0") and alive(int(folder.name)):
                    found[int(folder.name)] = (folder / "cmdline").read_text().replace("\0", " ")[-60:]
        return found
