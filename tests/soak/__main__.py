"""Runs it: ``python -m tests.soak --minutes 2 --seed 1``; the exit code is 1 if anything was lost."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import threading
import time
from pathlib import Path

import httpx

from tests.acceptance.processes import until
from tests.soak.audit import FINAL, Audit
from tests.soak.chaos import Chaos
from tests.soak.load import CLIENTS, KINDS, PATIENCE, Book, Client
from tests.soak.stack import LEFTOVER_SECONDS, Stack

IDLE_SECONDS = 300  # for all jobs to end when the faults have


def main() -> int:
    words = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    words.add_argument("--minutes", type=float, default=2, help="of load under faults")
    words.add_argument("--seed", type=int, default=1, help="of what is asked and of what breaks")
    words.add_argument("--calm", action="store_true", help="no faults: what the load alone does")
    asked = words.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="soak-"))
    print(f"seed {asked.seed}, {asked.minutes:g} minutes, logs in {folder}", flush=True)
    (folder / "pictures").mkdir()
    stack, book = Stack(folder), Book(folder / "pictures")
    try:
        faults = load(stack, book, asked.minutes, asked.seed, asked.calm)
        audit = audited(stack, book)
    finally:
        for process in stack.processes.values():
            process.kill()
            process.wait()
        stack.valkey.stop()
    report(book, faults, audit, asked.seed)
    if not audit.losses:
        shutil.rmtree(folder)
    return 1 if audit.losses else 0


def load(stack: Stack, book: Book, minutes: float, seed: int, calm: bool) -> dict[str, int]:
    """The load, and the faults beside it; both have ended when it returns. Gives the faults by kind."""
    stop, calm_again = threading.Event(), threading.Event()
    clients = [Client(number, seed, stack.ports, book, stop) for number in range(CLIENTS)]
    chaos = Chaos(stack, seed, calm_again)
    for thread in [*clients, *([] if calm else [chaos])]:
        thread.start()
    time.sleep(minutes * 60)
    calm_again.set()
    if not calm:
        chaos.join()
    stack.start_all()
    stop.set()
    for client in clients:
        client.join(2 * PATIENCE)
        if client.is_alive():
            book.odd.append(f"{client.name} still waits for an answer after {2 * PATIENCE:g} s")
    return dict(chaos.faults)


def audited(stack: Stack, book: Book) -> Audit:
    """Waits until all is idle and looks at it; starts everything once more, stops it and looks again."""
    audit = Audit(stack, book)
    with httpx.Client(base_url=f"http://127.0.0.1:{stack.ports[0]}", timeout=PATIENCE) as http:
        ends = time.monotonic() + IDLE_SECONDS
        quiet = time.monotonic() + LEFTOVER_SECONDS

        def is_idle() -> bool:
            jobs = [http.get(f"/jobs/{job_id}").json().get("status") for job_id in book.jobs]
            return set(jobs) <= FINAL or time.monotonic() > ends

        until(is_idle, IDLE_SECONDS + 60)
        time.sleep(max(0.0, quiet - time.monotonic()))
        audit.run(http)
    stack.stop()
    stack.start_all()  # whatever starts sweeps what those that died have left
    audit.run_after(stack.stop())
    return audit


def report(book: Book, faults: dict[str, int], audit: Audit, seed: int) -> None:
    print(f"\n{'requests':10}{'sent':>8}{'answered':>10}{'refused':>9}{'broken':>8}")
    for kind in KINDS:
        counts = [book.told[kind, what] for what in ("sent", "answered", "refused", "broken")]
        print(f"{kind:10}{counts[0]:8}{counts[1]:10}{counts[2]:9}{counts[3]:8}")
    print(f"refusals by status: {dict(sorted(book.statuses.items()))}")
    print(f"faults: {sum(faults.values())} {dict(sorted(faults.items()))}\n")
    print("\n".join(audit.lines))
    for loss in audit.losses:
        print(f"LOST  {loss[:500]}")
    print(f"\nseed {seed}: {len(audit.losses)} lost")


if __name__ == "__main__":
    sys.exit(main())
