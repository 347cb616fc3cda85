"""Requests a second over HTTP, through every process of a service started for it."""

from __future__ import annotations

import asyncio
import itertools
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import mean, median

import aiohttp

SECONDS = 8.0


def run() -> None:
    """Prints a line a size and number of clients, and where the time of a batch goes."""
    with running_service() as port:
        for side, clients in ((64, 1), (64, 64), (256, 1), (256, 64)):
            before = cpu_seconds(os.getpid())
            requests = asyncio.run(load(port, side, clients))
            after = cpu_seconds(os.getpid())
            spent = {name: (after[name] - before[name]) / requests * 1000 for name in after}
            print("         CPU ms a request: " + ", ".join(f"{n} {ms:.1f}" for n, ms in spent.items()))


@contextmanager
def running_service(module: str = "cli") -> Iterator[int]:
    """A whole service of its own, started by that module; gives its port."""
    with tempfile.TemporaryDirectory() as folder, socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        env = os.environ | {"PORT": str(port), "VITGAN_DATA_DIR": f"{folder}/var"}
        service = subprocess.Popen(
            [sys.executable, "-m", module, "up"],
            env=env | {"PYTHONPATH": str(Path.cwd())},
            cwd=folder,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert service.stdout is not None
            if not any("Ctrl-C" in line for line in service.stdout):
                raise RuntimeError("the service did not start")
            yield port
        finally:
            service.send_signal(signal.SIGTERM)
            service.wait()


def cpu_seconds(parent: int) -> dict[str, float]:
    """CPU time so far of the service's processes and of this client (Linux)."""
    names = {"worker": "image worker", "api": "API", "valkey-server": "Valkey"}
    ticks = os.sysconf("SC_CLK_TCK")
    found = {"client": time.process_time()}
    family = {parent}
    for pid in sorted(int(path.name) for path in Path("/proc").glob("[0-9]*")):
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            command = Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
        except OSError:
            continue
        if int(fields[1]) in family:
            family.add(pid)
            for word, name in names.items():
                if f" {word}" in command or f"/{word}" in command:
                    found[name] = (int(fields[11]) + int(fields[12])) / ticks
    return found


async def load(port: int, side: int, clients: int) -> int:
    """``clients`` ask for one image after the other for some seconds; gives how many they got."""
    answers = await asked(port, side, clients, SECONDS)
    waited = sorted(seconds for seconds, _ in answers)
    drawn = [timing(header) for _, header in answers]
    batch = mean(size for size, _ in drawn)
    print(
        f"{side:4d} px, {clients:2d} clients: {len(answers) / SECONDS:6.1f} requests/s, "
        f"p50 {median(waited) * 1000:.0f} ms, p95 {waited[int(len(waited) * 0.95)] * 1000:.0f} ms, "
        f"mean batch {batch:.1f}, a batch drawn in {median(ms for _, ms in drawn):.0f} ms"
    )
    return len(answers)


async def asked(port: int, side: int, clients: int, seconds: float) -> list[tuple[float, str]]:
    """What the clients got within that time: of each image the seconds it took, and its Server-Timing."""
    answers: list[tuple[float, str]] = []
    seeds = itertools.count()
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        until = time.perf_counter() + seconds

        async def client() -> None:
            while (started := time.perf_counter()) < until:
                body = {"seed": next(seeds), "resolution": side}
                async with session.post(f"http://127.0.0.1:{port}/generate", json=body) as answer:
                    await answer.read()
                    answer.raise_for_status()
                if (ended := time.perf_counter()) < until:
                    answers.append((ended - started, answer.headers["Server-Timing"]))

        await asyncio.gather(*(client() for _ in range(clients)))
    return answers


def timing(header: str) -> tuple[int, float]:
    """Size of the batch and milliseconds of drawing, from Server-Timing."""
    found = re.search(r'batch;desc="(\d+)", render;dur=([\d.]+)', header)
    assert found is not None, header
    return int(found[1]), float(found[2])
