"""``make soak MINUTES=10 SEED=1``: random load under random faults, then an audit; exits with 1 on a loss."""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import time
from pathlib import Path

from tests.acceptance.processes import until
from tests.soak.audit import Audit, logged
from tests.soak.chaos import Chaos
from tests.soak.load import Clients, Ledger
from tests.soak.stack import LEFT_SECONDS, Stack

KINDS = ("small", "large", "zip", "grid", "walk", "leaver", "drawing", "training", "upload")


async def storm(stack: Stack, seconds: float, seed: int) -> tuple[Ledger, Chaos]:
    """Load and faults for so long; then the faults end, and what the clients had begun."""
    clients, chaos = Clients(stack.ports, seed), Chaos(stack, seed)
    pauses = random.Random(f"pauses {seed}")
    keeping = asyncio.create_task(stack.keep_forever(lambda: pauses.uniform(0.2, 3)))
    running = asyncio.create_task(clients.run())
    await chaos.run(seconds)
    clients.stopping = True
    await running
    while not await asyncio.to_thread(stack.ready):
        await asyncio.sleep(0.5)
    keeping.cancel()
    return clients.ledger, chaos


def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=2)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    asked = parser.parse_args()
    print(f"seed {asked.seed}, {asked.minutes:g} minutes")
    with tempfile.TemporaryDirectory(prefix="soak-", ignore_cleanup_errors=True) as folder:
        stack = Stack(Path(folder) / "stack")
        try:
            until(stack.ready, 120)
            ledger, chaos = asyncio.run(storm(stack, asked.minutes * 60, asked.seed))
            audit = Audit(stack, ledger)
            audit.wait_until_quiet()
            time.sleep(LEFT_SECONDS + 5)  # until what dead processes have left counts as left
            stack.restart()
            until(stack.ready, 120)
            audit.look()
        finally:
            left = stack.stop()
        audit.processes(left)
        report(ledger, chaos, audit)
        print("\nrefusals:", *(f"\n  {count:4d} {why}" for why, count in ledger.reasons.most_common(12)))
        print(
            "\nin the logs:",
            *(f"\n  {count:4d} {line}" for line, count in logged(stack.folder / "logs").items()),
        )
    return 1 if audit.losses else 0


def report(ledger: Ledger, chaos: Chaos, audit: Audit) -> None:
    """The table."""
    print("\n| asked for | sent | answered | refused | broken |\n|---|---|---|---|---|")
    for kind in KINDS:
        counts = (table[kind] for table in (ledger.sent, ledger.answered, ledger.refused, ledger.broken))
        print(f"| {kind} |", " | ".join(map(str, counts)), "|")
    print("\n| fault | times |\n|---|---|")
    for fault, times in sorted(chaos.done.items()):
        print(f"| {fault} | {times} |")
    print("\n| audit | |\n|---|---|")
    for what, found in audit.lines:
        print(f"| {what} | {found} |")
    print(f"| **lost** | **{len(audit.losses)}** |")
    for loss in audit.losses[:50]:
        print("LOST", loss)


if __name__ == "__main__":
    sys.exit(main())
