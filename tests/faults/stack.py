"""A Valkey that can be killed and started again on its port and data, and processes looked at by id."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from redis import RedisError

from contract.redis_client import command_client
from tests.acceptance.conftest import alive
from tests.acceptance.processes import until
from tests.conftest import free_port


class Valkey:
    """As ``vitgan up`` runs it: with an append-only file."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.redis = command_client(self.url)
        self.start()

    def start(self) -> None:
        """On the port and the data folder that it had before."""
        command = [sys.executable, "-m", "cli", "valkey", str(self.folder), str(self.port)]
        self.process = subprocess.Popen(command)
        self.pid = self.process.pid
        until(self.answers, 30)

    def answers(self) -> bool:
        try:
            return bool(self.redis.ping())
        except RedisError:
            assert self.process.poll() is None, "Valkey did not start"
            return False

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        self.process.wait(10)

    def freeze(self) -> None:
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def stop(self) -> None:
        self.redis.close()
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(20)


def children(pid: int, command: str = "") -> list[int]:
    """Of that process; only those whose ``vitgan`` command it is, if one is given."""
    found = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False)
    pids = [int(word) for word in found.stdout.split()]
    return [child for child in pids if not command or command_of(child)[3:4] == [command]]


def command_of(pid: int) -> list[str]:
    """Its words; nothing if it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().rstrip("\0").split("\0")
    except OSError:
        return []


def is_gone(pid: int) -> bool:
    return not alive(pid)
