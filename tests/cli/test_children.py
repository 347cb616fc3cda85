from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from cli import children
from cli.children import RESTARTS, Child


def news_of(child: Child, seconds: float = 20) -> str:
    ends = time.monotonic() + seconds
    while (news := child.look()) is None:
        assert time.monotonic() < ends, "no news"
        time.sleep(0.01)
    return news


def test_a_process_that_ends_again_and_again_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(children, "PAUSE_SECONDS", 0.01)
    child = Child("wrong", ["no-such-command"], dict(os.environ), tmp_path)
    for count in range(RESTARTS):
        assert not child.is_hopeless
        assert news_of(child).endswith(f"it is started again in {0.01 * 2**count:g} s")
        assert news_of(child) == "wrong is started again"
    child.process.wait()
    assert child.is_hopeless
    assert child.log.read_text().count("no-such-command") == RESTARTS + 1  # its log goes on
    child.kill_rest()


def test_a_killed_process_is_started_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(children, "PAUSE_SECONDS", 0.01)
    child = Child("valkey", ["valkey", str(tmp_path / "data"), "0"], dict(os.environ), tmp_path)
    assert child.look() is None
    first = child.process.pid
    os.kill(first, signal.SIGKILL)
    child.process.wait()
    assert "by signal 9" in news_of(child)
    news_of(child)
    assert child.process.pid != first
    child.kill_rest()
