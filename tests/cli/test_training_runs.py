"""What a person sees of a run: where it begins, who else writes there, how it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.test_commands import told, vitgan
from tests.conftest import write_pictures

SMALL = ("--batch", 4, "--threads", 1, "--set", "generator.blocks=1")


@pytest.fixture
def train(tmp_path: Path) -> tuple[object, ...]:
    """The arguments of a small training into ``run``."""
    pictures = write_pictures(tmp_path / "p.zip")
    return ("train", pictures, "--out", tmp_path / "run", "--cache", tmp_path / "cache", *SMALL)


def command(*args: object) -> list[str]:
    return [sys.executable, "-m", "cli", *map(str, args)]


def damage(run: Path) -> list[Path]:
    found = sorted(run.glob("checkpoint-*.pt"))
    for path in found:
        path.write_bytes(path.read_bytes()[:5000])
    return found


def test_a_resume_says_where_it_begins_and_refuses_what_it_cannot_read(
    tmp_path: Path, train: tuple[object, ...]
) -> None:
    run = tmp_path / "run"
    first = vitgan(*train, "--kimg", 0.008, "--tick", 0.004, "--resume", "--seed", 3)
    assert first.returncode == 0, first.stderr
    assert f"no checkpoint in {run}: starting at 0" in first.stderr
    sizes = {path: path.read_bytes() for path in run.glob("checkpoint-*.pt")}

    again = vitgan(*train, "--kimg", 0.004, "--resume", "--seed", 4)
    assert again.returncode == 0
    assert "resumed at 0.008 kimg from checkpoint-000000000008.pt" in again.stderr
    assert "--kimg 0.004 is reached already" in again.stderr
    assert "--seed 4 is not used: this run goes on with its seed 3" in again.stderr
    assert "--seed" not in vitgan(*train, "--kimg", 0.004, "--resume").stderr

    damaged = damage(run)
    broken = {path: path.read_bytes() for path in damaged}
    refused = vitgan(*train, "--kimg", 0.012, "--resume")
    told(refused, *(path.name for path in damaged), "from a backup")
    assert {path: path.read_bytes() for path in run.glob("checkpoint-*.pt")} == broken

    older = min(sizes)
    older.write_bytes(sizes[older])
    done = vitgan(*train, "--kimg", 0.012, "--tick", 0.004, "--resume")
    assert done.returncode == 0, done.stderr
    assert f"{max(sizes).name} is damaged" in done.stderr
    assert "resumed at 0.004 kimg" in done.stderr
    assert (run / f"damaged-{max(sizes).name}").exists()
    assert (run / "checkpoint-000000000012.pt").exists()
    seen = [json.loads(line)["kimg"] for line in (run / "log.jsonl").read_text().splitlines()]
    assert seen == sorted(set(seen))
    assert (run / "fakes000000004.png").exists()
    assert (run / "fakes000000012.png").exists()


def test_an_unusable_out_is_told_before_a_picture_is_decoded(
    tmp_path: Path, train: tuple[object, ...]
) -> None:
    (tmp_path / "run").write_text("a file")
    told(vitgan(*train), str(tmp_path / "run"), "give another --out")
    assert not (tmp_path / "cache").exists()


def test_two_trainings_do_not_share_a_folder(tmp_path: Path, train: tuple[object, ...]) -> None:
    endless = command(*train, "--kimg", 1000, "--json")
    with subprocess.Popen(endless, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        told(vitgan(*train, "--resume"), f"process {process.pid}", "--out")
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert process.returncode == 130


def test_the_end_of_a_terminals_session_saves(tmp_path: Path, train: tuple[object, ...]) -> None:
    """It is told twice, and nobody reads what the training says after it."""
    endless = command(*train, "--kimg", 1000)
    terminal, end = os.openpty()
    with subprocess.Popen(endless, stdin=end, stdout=end, stderr=end, start_new_session=True) as process:
        os.close(end)
        while b"kimg" not in os.read(terminal, 1000):
            pass
        os.close(terminal)
        for _ in range(2):
            process.send_signal(signal.SIGHUP)
        assert process.wait(timeout=60) == 130
    assert list((tmp_path / "run").glob("checkpoint-*.pt"))
    assert (tmp_path / "run" / "model" / "model.safetensors").exists()


def test_a_reader_that_leaves_ends_no_training(tmp_path: Path, train: tuple[object, ...]) -> None:
    short = command(*train, "--kimg", 0.016, "--json")
    with subprocess.Popen(short, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr is not None
        process.stderr.read()
        assert process.wait(timeout=60) == 0
    assert (tmp_path / "run" / "checkpoint-000000000016.pt").exists()


def test_without_a_terminal_progress_is_a_few_whole_lines(train: tuple[object, ...]) -> None:
    done = vitgan(*train, "--kimg", 0.2)
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith("kimg")]
    assert "\r" not in done.stdout + done.stderr
    assert lines[-1].startswith("kimg 0.2/0.2 ")
    assert 1 <= len(lines) <= 10  # of fifty steps
    assert "decoding 40/40" in done.stderr.splitlines()
