"""A Valkey that a test can kill, freeze and fill, and the service's processes on it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from contract.jobs import JobStore
from tests.acceptance.processes import Processes, service_of
from tests.conftest import write_pictures
from tests.faults.stack import Valkey


def prepared(folder: Path) -> Path:
    """A data folder with a dataset ``colours``."""
    write_pictures(folder / "datasets" / "colours" / "pictures.zip")
    (folder / "datasets" / "colours" / "info.json").write_text("{}")
    return folder


@pytest.fixture
def service(tmp_path: Path, redis: Redis, valkey_url: str) -> Iterator[Processes]:
    """An API; tests start the workers that they need. There is a dataset ``colours``."""
    with service_of(0, prepared(tmp_path), redis, valkey_url) as processes:
        processes.env["VITGAN_TICK_KIMG"] = "0.1"
        processes.env["VITGAN_THREADS"] = "1"
        yield processes


@pytest.fixture
def store(redis: Redis) -> JobStore:
    return JobStore(redis)


@pytest.fixture(scope="module")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    """One with an append-only file, for the tests of a file."""
    server = Valkey(tmp_path_factory.mktemp("valkey"))
    yield server
    server.stop()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder of ``stack``."""
    return prepared(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def stack(valkey: Valkey, folder: Path) -> Iterator[Processes]:
    """An API, an image worker and a training worker on ``valkey``, for the tests of a file."""
    with service_of(1, folder, valkey.redis, valkey.url, VITGAN_THREADS="1") as processes:
        processes.start("trainer")
        yield processes
