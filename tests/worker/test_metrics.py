"""What the workers count and tell, and that they log for whom they work."""

from __future__ import annotations

import logging
import math
import socket
import subprocess
import sys
import time
import uuid
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from redis import Redis
from structlog.contextvars import get_contextvars

import worker.main  # noqa: F401  which makes every object of its registry
from contract import keys
from contract.instruments import REGISTRIES, serve
from contract.jobs import JobStore
from contract.messages import Composition, Grid, Side
from contract.metrics import STAGES, TABLE, TRAINER, WORKER
from contract.models import PublishedModel
from contract.stream import GONE
from tests.conftest import free_port
from tests.worker.test_images import batch
from tests.worker.test_trainer import Running, request, settings, store  # noqa: F401  fixtures
from worker.compositions import draw_composition
from worker.engine import Engine
from worker.images import draw_batch
from worker.settings import WorkerSettings
from worker.training_metrics import tell, training_told


def value(name: str, room: str = WORKER, **labels: str) -> float:
    found = REGISTRIES[room].get_sample_value(name, labels)
    assert found is not None, name
    return found


def counts() -> dict[str, float]:
    """Orders that went through each stage, so far."""
    return {stage: value("vitgan_worker_stage_seconds_count", stage=stage) for stage in STAGES}


@pytest.mark.parametrize("room", [WORKER, TRAINER])
def test_each_worker_exports_exactly_the_tables_names(room: str) -> None:
    port = free_port()
    serve(room, "127.0.0.1", port)
    text = httpx.get(f"http://127.0.0.1:{port}/metrics").text
    families = {
        family.name: family.type
        for family in text_string_to_metric_families(text)
        if not family.name.startswith("process_")
    }
    assert families == {m.name.removesuffix("_total"): str(m.kind) for m in TABLE if room in m.rooms}


def test_an_orders_time_is_told_by_stage(engine: Engine, tiny: PublishedModel, raw: Redis) -> None:
    before, images = counts(), value("vitgan_worker_images_total")
    waited = value("vitgan_worker_stage_seconds_sum", stage="queue")
    asked = batch(tiny, [1, 2, 3], (48, 32), sent_at=time.time() - 5)
    draw_batch(asked, engine, raw, "worker-1")
    longest = time.time() - asked.sent_at
    grown = {stage: count - before[stage] for stage, count in counts().items()}
    assert grown == {"queue": 1, "tokens": 1, "siren": 1, "encode": 1, "reply": 1, "credit": 0}
    assert 5 <= value("vitgan_worker_stage_seconds_sum", stage="queue") - waited <= longest
    assert value("vitgan_worker_images_total") - images == 3
    assert value("vitgan_worker_models_loaded") == 1


def test_what_is_painted_ahead_counts_for_its_order(engine: Engine, tiny: PublishedModel, raw: Redis) -> None:
    before, seconds = counts(), {s: value("vitgan_worker_stage_seconds_sum", stage=s) for s in STAGES}
    grid = Grid(seeds=(1, 2), truncation=1, columns=Side.whole(96), rows=Side.whole(96), across=2)
    asked = batch(tiny, [1])
    order = Composition(
        id=uuid.uuid4().hex, what=grid, reply_to="api", model=tiny.name, digest=tiny.digest,
        sent_at=asked.sent_at, deadline=asked.deadline, request="r1",
    )  # fmt: skip
    draw_composition(order, engine, raw, "worker-1")
    for stage in ("tokens", "siren", "encode", "reply"):
        assert counts()[stage] - before[stage] == 1
        assert value("vitgan_worker_stage_seconds_sum", stage=stage) > seconds[stage]


@pytest.mark.parametrize(
    ("outcome", "more"),
    [("drawn", {}), ("model_gone", {"digest": "0" * 64}), ("late", {"deadline": 1.0}), ("client_gone", {})],
)
def test_orders_are_counted_by_what_came_of_them(
    engine: Engine,
    tiny: PublishedModel,
    raw: Redis,
    outcome: str,
    more: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = value("vitgan_worker_orders_total", outcome=outcome)
    size = (32, 24)
    if outcome == "client_gone":
        monkeypatch.setattr("worker.images.LOOK_SECONDS", 0)
        monkeypatch.setattr("model.rendering.STRIP_PIXELS", 64 * 16)
        size = (64, 48)
    asked = batch(tiny, [1], size, **more)
    if outcome == "client_gone":
        raw.rpush(keys.credits(asked.items[0].id), GONE)
    draw_batch(asked, engine, raw, "worker-1")
    assert value("vitgan_worker_orders_total", outcome=outcome) == before + 1


def test_lines_about_an_order_say_which_requests_it_serves(
    engine: Engine, tiny: PublishedModel, raw: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    bound: list[str] = []

    def fail(*args: object) -> None:
        bound.append(get_contextvars()["request_id"])
        raise RuntimeError

    monkeypatch.setattr(engine, "draw", fail)
    asked = batch(tiny, [1, 2])
    named = tuple(
        item.model_copy(update={"request": name}) for item, name in zip(asked.items, "ab", strict=True)
    )
    draw_batch(asked.model_copy(update={"items": named}), engine, raw, "worker-1")
    assert bound == ["a b", "a", "b"]  # together, then one by one
    assert get_contextvars() == {}


def test_a_training_is_told_while_it_runs_and_not_after() -> None:
    report = {
        "kimg": 1.5,
        "total_kimg": 2,
        "loss_g": 0.7,
        "spread": 0.1,
        "distance": None,
        "warning": "a plateau",
    }
    before = time.time()
    with training_told():
        assert value("vitgan_training_running", TRAINER) == 1
        assert before <= value("vitgan_training_report_timestamp_seconds", TRAINER) <= time.time()
        tell(report)
        assert value("vitgan_training_images_seen", TRAINER) == 1500
        assert value("vitgan_training_loss", TRAINER, part="generator") == 0.7
        assert value("vitgan_training_warning", TRAINER) == 1
        assert math.isnan(value("vitgan_training_distance", TRAINER))
    assert value("vitgan_training_running", TRAINER) == 0
    for metric in TABLE:
        known = ("running", "attempts_total", "ends_total")
        if metric.name.startswith("vitgan_training_") and not metric.name.endswith(known):
            for sample in (s for family in REGISTRIES[TRAINER].collect() for s in family.samples):
                assert sample.name != metric.name or math.isnan(sample.value), sample


def test_a_real_training_fills_every_metric_and_its_words_are_logged_with_its_job(
    store: JobStore,  # noqa: F811
    settings: WorkerSettings,  # noqa: F811
    caplog: pytest.LogCaptureFixture,
) -> None:
    bound: list[dict[str, Any]] = []

    class Bound(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            bound.append(dict(get_contextvars()) | {"said": record.getMessage()})

    handler = Bound()
    logging.getLogger("worker.trainer").addHandler(handler)
    caplog.set_level(logging.INFO, "worker.trainer")
    try:
        asked = request(kimg=1000).model_copy(update={"request_id": "r1"})
        running = Running(store.create(asked), store, settings)
        running.until_progress()
        told = {
            sample.name: sample.value
            for family in REGISTRIES[TRAINER].collect()
            for sample in family.samples
            if sample.name.startswith("vitgan_training_")
        }
        unknown = {name for name, number in told.items() if math.isnan(number)}
        assert unknown <= {"vitgan_training_distance"}  # measured at the first tick
        assert 0 < told["vitgan_training_learning_rate"] < 0.1
        assert 0 <= told["vitgan_training_data_wait_ratio"] <= 1
        assert told["vitgan_training_memory_bytes"] > 50e6
        store.request_cancel(running.job_id)
        running.end()
    finally:
        logging.getLogger("worker.trainer").removeHandler(handler)
    assert {(line["job_id"], line["request_id"]) for line in bound} == {(running.job_id, "r1")}
    failing = Running(store.create(request(kimg=1, dataset="absent")), store, settings)
    assert "does not exist" in (failing.end().error or "")
    said = [r.getMessage() for r in caplog.records if "the training says" in r.getMessage()]
    assert "does not exist" in said[-1]


def test_a_port_in_use_is_one_sentence() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code = (
            "from worker.process import serve_metrics; from worker.settings import WorkerSettings\n"
            f"serve_metrics('worker', WorkerSettings(metrics_port={port}, metrics_host='127.0.0.1'))"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(f"cannot listen on 127.0.0.1:{port} for Prometheus")
    assert "set VITGAN_METRICS_PORT" in done.stderr
    assert "Traceback" not in done.stderr
