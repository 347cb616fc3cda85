"""The whole service as real processes: embedded Valkey, Celery workers, uvicorn."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.conftest import free_port

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = ["--no-sandbox", "--disable-background-networking", "--disable-component-update"]

READY = "Ctrl-C stops everything."


@dataclass
class Service:
    """One ``vitgan up`` in a folder of its own."""

    folder: Path
    port: int
    process: subprocess.Popen[str]
    said: str = ""

    @classmethod
    def launch(cls, folder: Path, port: int | None = None, **env: str) -> Service:
        port = port or free_port()
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("VITGAN_", "REDIS_"))}
        process = subprocess.Popen(
            [sys.executable, "-m", "cli", "up"],
            cwd=folder,
            env=clean | {"PORT": str(port), "VITGAN_DATA_DIR": str(folder / "var")} | env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        return cls(folder, port, process)

    @classmethod
    def start(cls, folder: Path, **env: str) -> Service:
        """Launched, and ready to draw."""
        service = cls.launch(folder, **env)
        assert service.process.stdout is not None
        for line in service.process.stdout:
            service.said += line
            if READY in line:
                return service
        raise AssertionError(f"vitgan up ended: {service.said}")

    def http(self) -> httpx.Client:
        return httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=120)

    def stop(self, number: int = signal.SIGTERM) -> float:
        """Asks it to stop; gives the seconds it took. Everything it started must be gone."""
        before = self.processes()
        started = time.monotonic()
        self.process.send_signal(number)
        assert self.process.stdout is not None
        self.said += self.process.stdout.read()
        self.process.wait(timeout=30)
        self.process.stdout.close()
        seconds = time.monotonic() - started
        left = [pid for pid in before if alive(pid)]
        assert left == [], f"still running: {left}"
        return seconds

    def processes(self) -> list[int]:
        """Every process that has this service's data folder in its environment, and their children.

        Valkey writes its title over its environment, so it is found by its parent.
        """
        mark = f"VITGAN_DATA_DIR={self.folder / 'var'}".encode()
        found: list[int] = []
        parents: dict[int, int] = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                parents[int(folder.name)] = int(stat(int(folder.name))[1])
                environment = (folder / "environ").read_bytes().split(b"\0")
            except OSError:
                continue
            if mark in environment:
                found.append(int(folder.name))
        return found + [pid for pid, parent in parents.items() if parent in found and pid not in found]


def stat(pid: int) -> list[str]:
    """State, parent and the rest of /proc/PID/stat."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def alive(pid: int) -> bool:
    try:
        return stat(pid)[0] != "Z"
    except OSError:
        return False


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One that the tests of a file share."""
    service = Service.start(tmp_path_factory.mktemp("service"))
    yield service
    if service.process.poll() is None:
        service.stop()


@pytest.fixture
def http(service: Service) -> Iterator[httpx.Client]:
    with service.http() as client:
        yield client


@pytest.fixture
def browser() -> Iterator[Browser]:
    """A real Chromium without a window."""
    if CHROMIUM is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(
            "Chromium is not installed: install the package chromium"
        )
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()
