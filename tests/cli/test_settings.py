"""Settings of the commands that serve: what is wrong is told before anything listens."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from redis import Redis

from cli.settings import unknown_variables
from contract import keys
from tests.conftest import free_port


def vitgan(folder: Path, *args: object, **env: str) -> subprocess.CompletedProcess[str]:
    """A command that ends by itself, in a folder, with those variables and no others of ours."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("VITGAN_", "REDIS_"))}
    command = [sys.executable, "-m", "cli", *map(str, args)]
    return subprocess.run(
        command, cwd=folder, env=clean | {"VITGAN_DATA_DIR": str(folder / "var")} | env,
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("command", "variable", "value", "sentence"),
    [
        ("api", "VITGAN_MAX_BATCH", "none", "VITGAN_MAX_BATCH is 'none': give a whole number of 1 or more"),
        ("up", "VITGAN_THREADS", "-1", "VITGAN_THREADS is '-1': give a whole number of 0 or more"),
        ("worker", "VITGAN_SLOTS", "0", "VITGAN_SLOTS is '0'"),
        ("worker", "VITGAN_DATA_DIR", "/proc/var", "cannot write to /proc/var"),
        ("trainer", "VITGAN_DEVICE", "cuda", "PyTorch finds no GPU here"),
    ],
)
def test_a_wrong_setting_ends_the_command_with_a_sentence(
    tmp_path: Path, command: str, variable: str, value: str, sentence: str
) -> None:
    port = free_port()
    more = ("--port", port) if command in ("api", "up") else ()
    done = vitgan(tmp_path, command, *more, **{variable: value})
    assert done.returncode == (1 if command == "up" else 2)
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0


def test_a_variable_that_is_no_setting_is_told(tmp_path: Path) -> None:
    done = vitgan(tmp_path, "api", VITGAN_MAX_SIZE="5", VITGAN_MAX_BATCH="0")
    assert "VITGAN_MAX_SIZE is no setting: is VITGAN_MAX_SIDE meant?" in done.stderr
    assert unknown_variables(["VITGAN_CACHE_DIR", "VITGAN_SLOTS", "VITGAN_MAX_SIDE", "PATH"]) == []


def test_the_version_is_that_of_the_package(tmp_path: Path) -> None:
    done = vitgan(tmp_path, "--version")
    pyproject = (Path(__file__).resolve().parents[2] / "pyproject.toml").read_text()
    assert f'version = "{done.stdout.split()[-1]}"' in pyproject


def test_a_hosts_worker_is_alive_while_it_beats(tmp_path: Path, redis: Redis, valkey_url: str) -> None:
    host = socket.gethostname()
    assert "no worker of generate" in vitgan(tmp_path, "alive", "generate", REDIS_URL=valkey_url).stderr
    redis.zadd(keys.workers("generate"), {"generate-7@elsewhere": 2e9})
    assert vitgan(tmp_path, "alive", "generate", REDIS_URL=valkey_url).returncode == 2
    redis.zadd(keys.workers("generate"), {f"generate-7@{host}": 2e9})
    assert vitgan(tmp_path, "alive", "generate", REDIS_URL=valkey_url).returncode == 0
    redis.zadd(keys.workers("generate"), {f"generate-7@{host}": 1e9})
    assert vitgan(tmp_path, "alive", "generate", REDIS_URL=valkey_url).returncode == 2
