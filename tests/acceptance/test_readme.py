"""A newcomer runs the commands of README.md, in its order, and compares what they print."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from tests.acceptance.conftest import Service
from tests.conftest import write_pictures

pytestmark = pytest.mark.acceptance

ROOT = Path(__file__).resolve().parent.parent.parent
README = (ROOT / "README.md").read_text()
ELSEWHERE = ("vitgan up",)  # tests/acceptance/test_up.py and test_keys.py start the service


@dataclass
class Command:
    """What stands behind a ``$``, and the lines below it."""

    text: str
    printed: list[str] = field(default_factory=list)


def commands() -> list[Command]:
    """All of them, in order; a line that ends in a backslash goes on in the next one."""
    found: list[Command] = []
    going_on = inside = False
    for line in README.splitlines():
        inside = line.startswith("    ") and (inside or line.startswith("    $ "))
        if line.startswith("    $ "):
            found.append(Command(line[6:]))
        elif going_on:
            found[-1].text += "\n" + line
        elif inside:
            found[-1].printed.append(line.strip())
        going_on = inside and line.endswith("\\")
    return found


def pattern(line: str) -> str:
    """What a line says: ``...`` is anything, decimal numbers and times are any."""
    line = line.replace("0e26...", "...")  # the job's id
    parts = re.split(r"(,? ?\.\.\.|\d+\.\d+|\d+:\d\d:\d\d)", line)
    for at in range(1, len(parts), 2):
        parts[at] = r"[\s\S]*?" if "..." in parts[at] else r"[\d.:]+"
    return "".join(part if at % 2 else re.escape(part) for at, part in enumerate(parts))


def test_the_python_of_the_readme_runs(service: Service, tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    told = re.findall(r"# (personas@[0-9a-f]{12})", code)
    code = code.replace("localhost:8000", f"127.0.0.1:{service.port}")
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert [done.stdout.strip()] == told


def test_the_url_of_the_readme_leads_to_the_picture(http: httpx.Client) -> None:
    (path,) = re.findall(r"`http://localhost:8000(/images/[^`]+)`", README)
    answer = http.get(path, follow_redirects=True)
    assert answer.headers["content-type"] == "image/png"
    assert "immutable" in answer.headers["cache-control"]


def test_every_command_prints_what_the_readme_says(service: Service, tmp_path: Path) -> None:
    (tmp_path / ".venv").symlink_to(Path(sys.executable).parent.parent)
    write_pictures(tmp_path / "pictures.zip", 40)
    job, ran = "", 0
    for command in commands():
        if any(one in command.text for one in ELSEWHERE):
            continue
        text = command.text.split("  #")[0].replace("localhost:8000", f"127.0.0.1:{service.port}")
        text = text.replace("0e26...", job)
        done = subprocess.run(
            ["bash", "-c", text], cwd=tmp_path, capture_output=True, text=True, timeout=300,
            env={k: v for k, v in os.environ.items() if not k.startswith(("VITGAN_", "REDIS_"))}
            | {"VITGAN_DATA_DIR": str(service.folder / "var"), "VITGAN_CACHE_DIR": str(tmp_path / "cache")},
        )  # fmt: skip
        assert done.returncode == 0, f"{text}\n{done.stderr}"
        for line in command.printed:
            assert re.search(pattern(line), done.stdout), (text, line, done.stdout)
        if found := re.search(r'"id":"([0-9a-f]{32})"', done.stdout):
            job = found[1]
            wait_for(service, job)
        ran += 1
    assert ran > 8
    assert (tmp_path / "seed0011.png").read_bytes()[:4] == b"\x89PNG"
    assert (tmp_path / "shape.png").read_bytes()[:4] == b"\x89PNG"
    assert (tmp_path / "runs" / "mine" / "fakes000000512.png").exists()


def wait_for(service: Service, job: str) -> None:
    """Until the training has ended well."""
    with service.http() as http:
        for _ in range(600):
            status = http.get(f"/jobs/{job}").json()["status"]
            if status not in ("queued", "running"):
                assert status == "succeeded"
                return
            time.sleep(0.5)
    raise AssertionError("the training does not end")
