"""What a worker process is called."""

from __future__ import annotations

import subprocess
import sys


def test_a_worker_that_takes_the_place_of_a_dead_one_has_another_name() -> None:
    """A container that is started again has the same host name and process id: its orders must be rescued."""
    code = "import os; os.getpid = lambda: 2; from worker.process import name; print(name('generate'))"
    command = [sys.executable, "-c", code]
    names = [subprocess.run(command, capture_output=True, text=True, check=True).stdout for _ in range(2)]
    assert names[0] != names[1]
