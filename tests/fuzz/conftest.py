"""What was tried, counted by kind, and told as a table at the end."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, settings

SLOW_IS_FINE = [
    HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture,
]  # fmt: skip
settings.register_profile("fuzz", deadline=None, print_blob=True, suppress_health_check=SLOW_IS_FINE)


@dataclass
class Count:
    """Of one kind of input; a failure is anything else than an answer or a refusal."""

    inputs: int = 0
    accepted: int = 0
    refused: int = 0
    failures: int = 0


class PassedOver(Exception):
    """Raised by tests themselves where a refusal is no exception."""


COUNTS: defaultdict[str, Count] = defaultdict(Count)


@contextmanager
def tried(kind: str, *refusals: type[Exception]) -> Iterator[None]:
    """One input: what is raised in the block must be one of ``refusals``, with a sentence."""
    count = COUNTS[kind]
    count.inputs += 1
    count.failures += 1  # until it is known better
    try:
        yield
    except refusals as refusal:
        if len(str(refusal)) < 10:
            raise AssertionError("a refusal without a sentence") from refusal
        count.refused += 1
    else:
        count.accepted += 1
    count.failures -= 1


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The table, if anything was tried."""
    if not COUNTS:
        return
    write = terminalreporter.write_line
    width = max(map(len, COUNTS))
    terminalreporter.section("bad inputs by kind")
    write(f"{'kind':{width}}  {'inputs':>7}  {'accepted':>8}  {'refused':>7}  {'failures':>8}")
    total = Count()
    for kind, count in sorted(COUNTS.items()):
        for field, value in vars(count).items():
            setattr(total, field, getattr(total, field) + value)
        _line(terminalreporter, f"{kind:{width}}", count)
    _line(terminalreporter, f"{'all':{width}}", total)


def _line(reporter: pytest.TerminalReporter, name: str, count: Count) -> None:
    numbers = f"{count.inputs:7}  {count.accepted:8}  {count.refused:7}  {count.failures:8}"
    reporter.write_line(f"{name}  {numbers}")
