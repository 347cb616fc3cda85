"""A Valkey of the test's own that can be killed, and processes on it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from contract.jobs import JobStore
from tests.acceptance.processes import Processes, service_of
from tests.conftest import write_pictures


@pytest.fixture
def service(tmp_path: Path, redis: Redis, valkey_url: str) -> Iterator[Processes]:
    """An API; tests start the workers that they need. There is a dataset ``colours``."""
    write_pictures(tmp_path / "datasets" / "colours" / "pictures.zip")
    (tmp_path / "datasets" / "colours" / "info.json").write_text("{}")
    with service_of(0, tmp_path, redis, valkey_url) as processes:
        processes.env["VITGAN_TICK_KIMG"] = "0.2"
        processes.env["VITGAN_THREADS"] = "1"
        yield processes


@pytest.fixture
def store(redis: Redis) -> JobStore:
    return JobStore(redis)
