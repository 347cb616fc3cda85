"""The service as processes that can be killed, frozen and started again: Valkey, two of each of ours."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx

from contract.presence import alive as workers_alive
from contract.queue import GENERATE, TRAIN
from tests.acceptance.conftest import free_port
from tests.acceptance.processes import until
from tests.conftest import write_pictures
from tests.faults.stack import Valkey, children

COMMANDS = {"api": "api", "image": "worker", "trainer": "trainer"}
LEFTOVER_SECONDS = 60


class Stack:
    """All of it, in one folder. Its methods may be called from several threads."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.data = folder, folder / "data"
        write_pictures(self.data / "datasets" / "colours" / "pictures.zip")
        (self.data / "datasets" / "colours" / "info.json").write_text("{}")
        self.valkey = Valkey(folder / "valkey")
        self.ports = [free_port(), free_port()]
        self.names = [f"{kind}-{number}" for kind in COMMANDS for number in (0, 1)]
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._lock = threading.Lock()
        self.mark = f"VITGAN_DATA_DIR={self.data}"
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("VITGAN_", "REDIS_"))}
        self.env = clean | {
            "REDIS_URL": self.valkey.url, "VITGAN_DATA_DIR": str(self.data), "OMP_NUM_THREADS": "1",
            "VITGAN_THREADS": "1", "VITGAN_TICK_KIMG": "0.064",
            "VITGAN_LEFTOVER_SECONDS": str(LEFTOVER_SECONDS),
        }  # fmt: skip
        self.start_all()

    def start_all(self) -> None:
        """Whatever of it does not run; returns when it is ready."""
        if self.valkey.keeper.poll() is not None:
            self.valkey.start()
        for name in self.names:
            self.start(name)
        until(self.is_ready, 120)

    def start(self, name: str) -> None:
        """One of ours, if it does not run."""
        with self._lock:
            if name in self.processes and self.processes[name].poll() is None:
                return
            kind, number = name.split("-")
            more = ["--port", str(self.ports[int(number)])] if kind == "api" else []
            with (self.folder / f"{name}.log").open("ab") as log:
                self.processes[name] = subprocess.Popen(
                    [sys.executable, "-m", "cli", COMMANDS[kind], *more],
                    env=self.env, stdout=log, stderr=subprocess.STDOUT,
                )  # fmt: skip

    def signal(self, name: str, number: int) -> None:
        """To one of ours, to ``valkey`` or to a training (``training-0``); nothing if it is not there."""
        with contextlib.suppress(ProcessLookupError, KeyError, IndexError):
            os.kill(self.pid(name), number)
            if number == signal.SIGKILL and name in self.processes:
                self.processes[name].wait()

    def pid(self, name: str) -> int:
        if name == "valkey":
            return self.valkey.pid
        if name.startswith("training"):
            return children(self.processes[name.replace("training", "trainer")].pid, "train")[0]
        return self.processes[name].pid

    def is_ready(self) -> bool:
        """Both APIs answer, all workers beat."""
        try:
            ready = [httpx.get(f"http://127.0.0.1:{port}/readyz").json() for port in self.ports]
        except (httpx.TransportError, ValueError):
            return False
        beating = {queue: workers_alive(self.valkey.redis, queue) for queue in (GENERATE, TRAIN)}
        return all(one["redis"] for one in ready) and all(count >= 2 for count in beating.values())

    def stop(self) -> float:
        """SIGTERM to all of ours; gives the seconds until the last one was out."""
        started = time.monotonic()
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            process.wait(60)
        return time.monotonic() - started

    def left(self) -> list[int]:
        """Processes that still run on this folder."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                words = (folder / "environ").read_bytes().split(b"\0")
                if self.mark.encode() in words and int(folder.name) != os.getpid():
                    found.append(int(folder.name))
        return found
