"""Garbage on the queues, as a stranger with access to Redis could put it there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from contract import keys
from contract.queue import GENERATE, GENERATE_TASK, TRAIN, TRAIN_TASK, make_celery
from tests.acceptance.conftest import Service
from tests.acceptance.processes import until
from tests.conftest import write_pictures

pytestmark = [pytest.mark.faults, pytest.mark.timeout(240)]

FATAL = [b"no json{", b"[1, 2]"]  # Celery's worker ends over them, and has popped them
STRANGE = [b"{}", b'{"properties": {}, "body": ""}']
TASKS = [
    ("vitgan.nothing", (1,)),
    (GENERATE_TASK, (1, 2, 3)),
    (GENERATE_TASK, ({"items": "x" * 2**20},)),
    ("vitgan.draw", (["no id"],)),
    ("vitgan.draw", ("f" * 32,)),
    ("vitgan.compose", ("no order",)),
    (TRAIN_TASK, ({"no": "id"},)),
]


@pytest.fixture
def service(tmp_path: Path, redis: Redis, valkey_url: str) -> Iterator[Service]:
    write_pictures(tmp_path / "var" / "datasets" / "colours" / "pictures.zip")
    (tmp_path / "var" / "datasets" / "colours" / "info.json").write_text("{}")
    service = Service.start(tmp_path, REDIS_URL=valkey_url)
    yield service
    service.stop()


def test_garbage_harms_no_job(service: Service, redis: Redis, valkey_url: str) -> None:
    """Bytes that are no message end a worker, which is started again; wrong tasks are logged and dropped.

    A training that runs meanwhile, a drawing and an image behind all of it are done once.
    """
    body = {"dataset": "colours", "preset": "vitgan-ti-32", "name": "made", "kimg": 0.096}
    with service.http() as http:
        training = http.post("/train", json=body).headers["location"]
        celery = make_celery(valkey_url)
        for queue in (GENERATE, TRAIN):
            redis.lpush(keys.of_version(queue), *FATAL, *STRANGE)
            for task, arguments in TASKS:
                celery.send_task(task, arguments, queue=keys.of_version(queue))
        celery.close()
        asked = {"seed": 3, "resolution": 64}
        drawing = http.post("/generate", json=asked, headers={"Prefer": "respond-async"}).headers["location"]
        for job in (drawing, training):
            until(lambda job=job: http.get(job).json()["status"] == "succeeded", 90)  # type: ignore[misc]
            assert http.get(job).json()["losses"] <= 1  # its worker may have ended with it
        until(lambda: http.get("/readyz").json()["image_workers"] == 1, 30)
        assert http.post("/generate", json=asked).content == http.get(f"{drawing}/result").content
    until(lambda: not redis.llen(keys.of_version(GENERATE)) and not redis.llen(keys.of_version(TRAIN)), 60)
