"""Upload, train, draw: the life of a model through the service."""

from __future__ import annotations

import io
import time

import httpx
import pytest
from PIL import Image

from cli.shapes import write_shapes
from tests.acceptance.conftest import Service

pytestmark = pytest.mark.acceptance


def upload(http: httpx.Client, service: Service, name: str) -> None:
    path = service.folder / "shapes.zip"
    write_shapes(path, 300)
    answer = http.post("/datasets", data={"name": name}, files={"file": path.read_bytes()})
    assert answer.status_code == 201, answer.text
    assert (answer.json()["pictures"], answer.json()["skipped"]) == (300, 0)


def train(http: httpx.Client, **body: object) -> str:
    answer = http.post("/train", json={"dataset": "shapes", "preset": "vitgan-ti-32"} | body)
    assert answer.status_code == 202, answer.text
    return str(answer.headers["location"])


def wait(http: httpx.Client, job: str, until: set[str], seconds: float = 240) -> dict[str, object]:
    ends = time.monotonic() + seconds
    while (state := http.get(job).json())["status"] not in until:
        assert time.monotonic() < ends, state
        time.sleep(0.3)
    return dict(state)


def test_a_training_makes_a_model_that_draws(service: Service, http: httpx.Client) -> None:
    upload(http, service, "shapes")
    job = train(http, name="my-shapes", kimg=0.32)
    assert http.post("/generate", json={"model": "my-shapes"}).status_code == 404
    state = wait(http, job, {"succeeded", "failed", "cancelled"})
    assert state["status"] == "succeeded", state["error"]
    assert state["progress"]["kimg"] == 0.32  # type: ignore[index]
    models = {model["name"]: model for model in http.get("/models").json()["items"]}
    assert models["my-shapes"]["digest"] == state["result"]["digest"]  # type: ignore[index]
    answer = http.post("/generate", json={"model": "my-shapes", "seed": 1, "resolution": 48})
    with Image.open(io.BytesIO(answer.content)) as image:
        assert (image.size, image.info["Model"]) == ((48, 48), models["my-shapes"]["digest"])
    assert http.post("/train", json={"dataset": "shapes", "name": "my-shapes", "kimg": 1}).status_code == 409


def test_a_running_training_is_cancelled_within_seconds(service: Service, http: httpx.Client) -> None:
    job = train(http, name="never", kimg=1000)
    queued = train(http, name="waiting", kimg=1000)
    wait(http, job, {"running"})
    assert http.get(queued).json()["position"] == 0
    assert http.delete(queued).json()["status"] == "cancelled"
    while not http.get(job).json()["progress"]:
        time.sleep(0.2)
    # Images do not wait for trainings; this one would take hours.
    assert http.post("/generate", json={"seed": 1, "resolution": 64}).elapsed.total_seconds() < 30
    started = time.monotonic()
    http.delete(job)
    assert wait(http, job, {"cancelled"})["result"] is None
    assert time.monotonic() - started < 30  # of a loaded machine


def test_a_stop_in_mid_training_leaves_a_job_that_the_next_start_resumes(service: Service) -> None:
    with service.http() as http:
        job = train(http, name="resumed", kimg=1000)
        wait(http, job, {"running"})
        while not http.get(job).json()["progress"]:
            time.sleep(0.2)
    assert service.stop() < 10
    again = Service.start(service.folder)
    with again.http() as http:
        state = wait(http, job, {"running"}, seconds=120)
        assert state["attempts"] == 2
        http.delete(job)
        wait(http, job, {"cancelled"})
    again.stop()
