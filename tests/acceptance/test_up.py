"""Starting and stopping, and what is said when it cannot be done."""

from __future__ import annotations

import shlex
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest
from redis import AuthenticationError, Redis

from tests.acceptance.conftest import Service
from tests.conftest import free_port

pytestmark = pytest.mark.acceptance


def said_by(service: Service) -> str:
    """What a start that fails says; it must end by itself, with code 1 and no traceback."""
    said, _ = service.process.communicate(timeout=60)
    assert service.process.returncode == 1, said
    assert "Traceback" not in said
    assert service.processes() == []
    return said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_one_signal_stops_everything(tmp_path: Path, number: int) -> None:
    service = Service.start(tmp_path)
    assert len(service.processes()) >= 6  # up, two Valkeys, two workers, the API
    kept = {name: (tmp_path / "var" / name / "appendonlydir").exists() for name in ("valkey", "valkey-bytes")}
    assert kept == {"valkey": True, "valkey-bytes": False}  # jobs are written down, image bytes are not
    assert service.stop(number) < 10
    assert service.process.returncode == 0
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", service.port)) != 0


@pytest.mark.parametrize("name", ["with a space", 'it\'s "new" \\ #1 $HOME {x} %d'])
def test_any_name_of_a_folder_will_do(tmp_path: Path, name: str) -> None:
    """Of the data folder, of the one it is started in, and of the file of keys."""
    folder = tmp_path / name
    folder.mkdir()
    keys = folder / "my keys.json"
    keys.write_text('{"keys": []}')
    for env in ({}, {"VITGAN_API_KEYS_FILE": str(keys)}):
        service = Service.start(folder, **env)
        assert (folder / "var" / "valkey" / "appendonlydir").is_dir()
        service.stop()
    assert f"--file {shlex.quote(str(keys))}" in service.said


def test_other_users_of_the_machine_are_kept_out(tmp_path: Path) -> None:
    service = Service.start(tmp_path)
    try:
        told = [Path(f"/proc/{pid}/environ").read_bytes() for pid in service.processes()]
        urls = {word.decode() for words in told for word in words.split(b"\0") if b"REDIS_URL=" in word}
        ports = {url.partition("@127.0.0.1:")[2] for url in urls}
        assert len(ports) == 2
        for port in ports:
            with Redis.from_url(f"redis://127.0.0.1:{port}") as redis, pytest.raises(AuthenticationError):
                redis.ping()
        assert (tmp_path / "var").stat().st_mode & 0o777 == 0o700
        assert "other users" not in service.said
        words = b"".join(Path(f"/proc/{pid}/cmdline").read_bytes() for pid in service.processes())
        assert all(url.partition("://:")[2].partition("@")[0].encode() not in words for url in urls)
    finally:
        service.stop()


def test_a_data_folder_that_others_can_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "var").mkdir()
    (tmp_path / "var").chmod(0o755)
    service = Service.launch(tmp_path, REDIS_URL="redis://127.0.0.1:1/0")
    assert f"other users of this machine can read {tmp_path / 'var'}: chmod 700" in said_by(service)


def test_a_signal_during_the_start_stops_it_too(tmp_path: Path) -> None:
    service = Service.launch(tmp_path)
    time.sleep(1.5)
    assert service.stop() < 10


def test_a_port_in_use_is_one_sentence(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert f"port {port} is in use" in said_by(Service.launch(tmp_path, port))


def test_a_redis_that_does_not_answer_is_one_sentence(tmp_path: Path) -> None:
    url = f"redis://:secret@127.0.0.1:{free_port()}/0"
    said = said_by(Service.launch(tmp_path, REDIS_URL=url))
    assert "redis does not answer" in said
    assert "Connection refused" in said
    assert "secret" not in said


def test_a_redis_that_refuses_is_passed_on(tmp_path: Path, valkey_url: str) -> None:
    said = said_by(Service.launch(tmp_path, REDIS_URL=valkey_url.replace("redis://", "redis://me:secret@")))
    assert "refuses the password (invalid username-password pair" in said
    assert "secret" not in said


@pytest.mark.usefixtures("redis")  # which is empty then: a job that was left there would be one process more
def test_redis_url_wins_over_the_embedded_server(tmp_path: Path, valkey_url: str) -> None:
    service = Service.start(tmp_path, REDIS_URL=valkey_url)
    try:
        assert not (tmp_path / "var" / "valkey").exists()
        assert len(service.processes()) == 4  # no Valkey of ours
    finally:
        service.stop()


def test_two_services_cannot_share_a_data_folder(tmp_path: Path) -> None:
    first = Service.start(tmp_path)
    second = Service.launch(tmp_path)
    said, _ = second.process.communicate(timeout=60)
    assert second.process.returncode == 1
    assert "another `vitgan up` uses" in said
    assert first.process.poll() is None
    first.stop()


def test_make_passes_a_signal_on(tmp_path: Path) -> None:
    root = Path(__file__).resolve().parents[2]
    port = free_port()
    make = subprocess.Popen(
        ["make", "--no-print-directory", "up", f"PORT={port}", f"VITGAN_DATA_DIR={tmp_path / 'var'}"],
        cwd=root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    service = Service(tmp_path, port, make)
    assert make.stdout is not None
    for line in make.stdout:
        if "Ctrl-C stops everything." in line:
            break
    assert service.stop() < 10
