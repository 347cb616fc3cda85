"""``vitgan keys``, and where the service may listen without any, run as people run it."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from app.key_file import editing, hashed, new_key, read_keys
from app.listening import check_host
from app.settings import AppSettings
from tests.cli.test_commands import told, vitgan


def test_a_key_is_printed_once_and_its_hash_kept(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    arguments = (
        "--name",
        "lab",
        "--scope",
        "generate",
        "--scope",
        "train",
        "--max-waiting",
        8,
        "--max-jobs",
        2,
    )
    done = vitgan("keys", "create", "--file", file, *arguments)
    assert done.returncode == 0, done.stderr
    key = done.stdout.strip()
    assert re.fullmatch(r"vg_[0-9a-f]{8}_[A-Za-z0-9_-]{43}", key)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert key.rpartition("_")[2] not in file.read_text()
    (kept,) = json.loads(file.read_text())["keys"]
    assert (kept["id"], kept["sha256"]) == (key[3:11], hashed(key))
    assert (kept["name"], kept["scopes"]) == ("lab", ["generate", "train"])
    assert (kept["max_waiting"], kept["max_jobs"]) == (8, 2)
    assert list(tmp_path.iterdir()) == [file]


def test_keys_are_listed_and_revoked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VITGAN_API_KEYS_FILE", str(tmp_path / "keys.json"))
    ids = [
        vitgan("keys", "create", "--name", name, "--scope", "admin").stdout[3:11] for name in ("ann", "bob")
    ]
    listed = vitgan("keys", "list").stdout.splitlines()
    assert [(line[:8], line.split()[-1]) for line in listed] == [(ids[0], "ann"), (ids[1], "bob")]
    assert "ann" in vitgan("keys", "revoke", ids[0]).stdout
    assert [key.id for key in read_keys(tmp_path / "keys.json")] == ids[1:]
    told(vitgan("keys", "revoke", ids[0]), ids[0], "keys list")


def test_a_wrong_key_is_one_sentence_and_writes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    create = ("keys", "create", "--file", file)
    told(vitgan(*create, "--name", "", "--scope", "admin"), "name")
    told(vitgan(*create, "--name", "x", "--scope", "everything"), "scopes", "'train'")
    told(vitgan(*create, "--name", "x"), "--scope")
    told(vitgan("keys", "list", "--file", file), "keys.json", "keys create")
    told(vitgan("keys", "create", "--file", tmp_path / "no" / "k", "--name", "x", "--scope", "admin"), "no/k")
    assert not file.exists()
    file.write_text("{}")
    told(vitgan(*create, "--name", "x", "--scope", "admin"), "keys.json", "keys: Field required")
    assert file.read_text() == "{}"


def test_editors_take_turns(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"

    def add() -> None:
        for _ in range(5):
            with editing(file) as keys:
                keys.append(new_key("x", ["train"])[1])

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(read_keys(file)) == 20


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_the_file_stays_its_owners(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    with editing(file):
        pass
    os.chown(file, 1234, 1234)
    with editing(file) as keys:
        keys.append(new_key("x", ["train"])[1])
    assert (file.stat().st_uid, stat.S_IMODE(file.stat().st_mode)) == (1234, 0o600)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.10", "::1", "localhost"])
def test_this_machine_alone_needs_no_keys(host: str) -> None:
    check_host(host, AppSettings())


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.168.1.5", "example.org", "localhost.example.org"])
def test_others_need_keys_unless_somebody_says_so(host: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="VITGAN_ALLOW_ANONYMOUS=true"):
        check_host(host, AppSettings())
    check_host(host, AppSettings(allow_anonymous=True))
    check_host(host, AppSettings(api_keys_file=tmp_path / "keys.json"))


def test_the_api_and_up_refuse_to_be_open_by_accident(tmp_path: Path) -> None:
    told(vitgan("api", "--host", "0.0.0.0"), "0.0.0.0", "vitgan keys create", "VITGAN_ALLOW_ANONYMOUS=true")
    command = [sys.executable, "-m", "cli", "up", "--host", "0.0.0.0", "--port", "1"]
    env = os.environ | {"VITGAN_DATA_DIR": str(tmp_path)}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "VITGAN_ALLOW_ANONYMOUS=true" in done.stderr
