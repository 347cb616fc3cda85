"""The embedded Valkey, as a process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from redis import AuthenticationError, ConnectionError, Redis

from tests.acceptance.processes import until
from tests.conftest import free_port


def answers(redis: Redis) -> bool:
    try:
        return bool(redis.ping())
    except AuthenticationError:
        raise
    except ConnectionError:
        return False


def test_it_has_a_password_and_a_folder_that_others_cannot_read(tmp_path: Path) -> None:
    password, folder, port = 'it\'s "a" \\ pass wörd', tmp_path / "v", free_port()
    folder.mkdir(mode=0o755)
    command = [sys.executable, "-m", "cli", "valkey", str(folder), str(port)]
    process = subprocess.Popen(command, env=os.environ | {"VITGAN_REDIS_PASSWORD": password})
    try:
        with Redis(port=port, password=password) as redis:
            until(lambda: answers(redis), 30)
            redis.set("a", "b")
        with Redis(port=port) as redis, pytest.raises(AuthenticationError):
            redis.get("a")
        assert password.encode() not in Path(f"/proc/{process.pid}/cmdline").read_bytes()
        assert folder.stat().st_mode & 0o777 == 0o700
    finally:
        process.terminate()
        assert process.wait(20) == 0
    assert all(password.encode() not in file.read_bytes() for file in folder.rglob("*") if file.is_file())
