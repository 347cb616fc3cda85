"""Make targets say what they lack, and how to install it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from scripts.settings import ROOT


def tried(path: Path, *targets: str) -> subprocess.CompletedProcess[str]:
    """``make`` with that folder alone as its PATH, and nothing to install before."""
    for name in ("make", "sh", "sed", "git"):
        found = next(p / name for p in (Path("/usr/bin"), Path("/bin")) if (p / name).exists())
        (path / name).symlink_to(found)
    installed = path / ".installed-ops"
    installed.touch()
    command = [path / "make", "-o", installed, f"VENV={path}", *targets]
    return subprocess.run(
        command, cwd=ROOT, env={"PATH": str(path)}, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("check-ops", "promtool is not installed.*package prometheus.*release page of Prometheus"),
        ("images", "docker is not installed.*Docker Engine"),
    ],
)
def test_a_target_without_its_program_says_in_one_sentence_what_to_install(
    tmp_path: Path, target: str, words: str
) -> None:
    done = tried(tmp_path, target)
    assert done.returncode == 2
    assert done.stdout == ""
    sentence, of_make = done.stderr.splitlines()
    assert re.search(words, sentence)
    assert "127" not in of_make
