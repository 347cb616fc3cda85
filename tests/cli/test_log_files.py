from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cli import __main__, log_files
from cli.children import Child
from cli.log_files import KEPT, last_line, older, rotate


def test_a_log_outlives_the_next_start(tmp_path: Path) -> None:
    for _ in range(2):
        child = Child("wrong", ["no-such-command"], dict(os.environ), tmp_path)
        child.process.wait(60)
        assert "no-such-command" in child.log.read_text()
    assert child.log.read_text().count("no-such-command") == 2


def test_last_words_are_of_this_start(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_text("of before\n" * 1000)
    before = log.stat().st_size
    assert last_line(log, before) == ""
    with log.open("a") as file:
        file.write("x" * 10_000 + "\nof now\n")
    assert last_line(log, before) == "of now"
    log.write_text("short\n")  # it has been emptied meanwhile
    assert last_line(log, before) == "short"


def test_a_full_log_is_kept_in_older_ones_and_the_process_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_files, "MOST_BYTES", 10)
    log = tmp_path / "a.log"
    with log.open("ab") as file:
        code = "import sys\nfor line in sys.stdin: print(line, end='', flush=True)"
        writer = subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=file, text=True, bufsize=1
        )
    assert writer.stdin is not None
    for number in range(KEPT + 2):
        assert not rotate(log)
        writer.stdin.write(f"{number} is a line of the log\n")
        while log.stat().st_size == 0:
            pass
        assert rotate(log)
        assert log.stat().st_size == 0
        assert older(log, 1).read_text() == f"{number} is a line of the log\n"
    writer.stdin.close()
    writer.wait(60)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.log", "a.log.1", "a.log.2", "a.log.3"]


def test_ctrl_c_while_a_command_loads_is_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    class Loading:
        @property
        def app(self) -> None:
            raise KeyboardInterrupt

    monkeypatch.setitem(sys.modules, "cli.main", Loading())
    with pytest.raises(SystemExit) as ended:
        __main__.main()
    assert ended.value.code == 130
    assert ended.value.__suppress_context__
