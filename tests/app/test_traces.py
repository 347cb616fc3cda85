"""Traces: what a request's client, the API and the worker tell of it is one; and none are made unasked."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from redis import Redis

from contract import traces
from contract.jobs import JobStore
from contract.messages import ImageBatch
from contract.models import ModelLibrary
from contract.redis_client import command_client
from contract.settings import SharedSettings
from contract.stream import Frame
from tests.app.conftest import Api, Start
from tests.worker.conftest import publish_tiny
from worker.drawings import run_drawing
from worker.engine import Engine
from worker.images import draw_batch
from worker.settings import WorkerSettings

CLIENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"  # a traceparent, of W3C's own example


@pytest.fixture
def exporter(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    """Traces are on, and kept here."""
    kept, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(kept))
    monkeypatch.setattr(traces, "provider", provider)
    yield kept
    provider.shutdown()


@pytest.fixture
async def drawing(start: Start, tmp_path: Path, valkey_url: str) -> Api:
    """The API with what draws for it in this process, as the worker does."""
    publish_tiny(tmp_path / "tiny" / "tiny")
    api = await start(shipped_models_dir=tmp_path / "tiny", default_model="tiny")
    engine = Engine(ModelLibrary(tmp_path / "tiny"), threads=1)

    def answer(batch: ImageBatch) -> list[Frame]:
        with command_client(valkey_url, decode=False) as raw:
            draw_batch(ImageBatch.model_validate(batch.model_dump()), engine, raw, "painter")  # which beats
        return []

    api.painter.answer = answer
    return api


def by_name(exporter: InMemorySpanExporter, name: str) -> list[ReadableSpan]:
    return [span for span in exporter.get_finished_spans() if span.name == name]


async def test_one_trace_goes_from_the_client_through_the_api_to_the_worker(
    exporter: InMemorySpanExporter, drawing: Api
) -> None:
    body = {"seed": 1, "resolution": 16}
    answer = await drawing.http.post("/generate", json=body, headers={"traceparent": CLIENT})
    assert answer.status_code == 200
    (asked,), (drawn,) = by_name(exporter, "POST /generate"), by_name(exporter, "draw")
    assert asked.parent is not None
    assert drawn.parent is not None
    assert f"{asked.parent.trace_id:032x}" == CLIENT.split("-")[1]
    assert f"{asked.parent.span_id:016x}" == CLIENT.split("-")[2]
    assert (drawn.parent.trace_id, drawn.parent.span_id) == (asked.context.trace_id, asked.context.span_id)
    assert asked.start_time <= drawn.start_time < drawn.end_time <= asked.end_time  # type: ignore[operator]
    assert {"vitgan.queue_seconds", "vitgan.tokens_seconds", "vitgan.siren_seconds"} <= set(
        drawn.attributes or ()
    )


async def test_images_that_are_drawn_together_stay_in_their_traces(
    exporter: InMemorySpanExporter, drawing: Api
) -> None:
    drawing.services.coalescer.gather_seconds = 0.05
    asked = [drawing.http.post("/generate", json={"seed": i, "resolution": 16}) for i in range(4)]
    assert {answer.status_code for answer in await asyncio.gather(*asked)} == {200}
    assert max(len(batch.items) for batch in drawing.painter.batches) > 1
    requests = {span.context.span_id for span in by_name(exporter, "POST /generate")}
    parents = {span.parent.span_id for span in by_name(exporter, "draw") if span.parent}
    assert len(requests) == 4
    assert parents == requests


async def test_a_job_is_of_the_trace_of_its_request(
    exporter: InMemorySpanExporter, drawing: Api, redis: Redis, tmp_path: Path
) -> None:
    headers = {"Prefer": "respond-async", "traceparent": CLIENT}
    job = (await drawing.http.post("/generate", json={"seed": 1, "resolution": 16}, headers=headers)).json()
    engine = Engine(ModelLibrary(tmp_path / "tiny"), threads=1)
    settings = WorkerSettings(data_dir=tmp_path / "var")
    await asyncio.to_thread(run_drawing, job["id"], JobStore(redis), engine, settings, threading.Event())
    (drawn,) = by_name(exporter, "draw a job")
    assert f"{drawn.context.trace_id:032x}" == CLIENT.split("-")[1]
    assert drawn.attributes == {"vitgan.job_id": job["id"], "vitgan.outcome": "succeeded"}


async def test_who_only_looks_makes_no_trace(exporter: InMemorySpanExporter, drawing: Api) -> None:
    for path in ("/healthz", "/readyz", "/metrics", "/models"):
        await drawing.http.get(path)
    assert [span.name for span in exporter.get_finished_spans()] == ["GET /models"]


async def test_without_a_collector_nothing_is_traced(drawing: Api) -> None:
    answer = await drawing.http.post(
        "/generate", json={"seed": 1, "resolution": 16}, headers={"traceparent": CLIENT}
    )
    assert answer.status_code == 200
    assert drawing.painter.batches[0].items[0].trace == ""


def test_the_packages_are_needed_only_where_a_collector_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    code = "import sys, worker.main; assert 'opentelemetry.exporter' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
    monkeypatch.setattr(traces, "provider", None)
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    traces.set_up_traces("worker", SharedSettings())
    with pytest.raises(ValueError, match=r"VITGAN_OTLP_ENDPOINT.*\[otel\]"):
        traces.set_up_traces("worker", SharedSettings(otlp_endpoint="http://127.0.0.1:4318"))
    assert traces.provider is None
