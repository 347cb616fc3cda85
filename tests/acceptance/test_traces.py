"""Real processes tell a collector of one trace, and end in time when it is away."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from redis import Redis

from tests.acceptance.processes import service_of
from tests.conftest import free_port

pytestmark = pytest.mark.acceptance

Told = list[tuple[str, str, str]]  # service, span, trace


@pytest.fixture
def collector() -> Iterator[tuple[str, Told]]:
    """Where it listens, and what it has been told."""
    told: Told = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            assert self.path == "/v1/traces"
            for of_process in ExportTraceServiceRequest.FromString(body).resource_spans:
                names = {one.key: one.value.string_value for one in of_process.resource.attributes}
                for scope in of_process.scope_spans:
                    told.extend((names["service.name"], s.name, s.trace_id.hex()) for s in scope.spans)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Collector) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", told
        server.shutdown()


def test_api_and_worker_tell_of_one_trace(
    tmp_path: Path, redis: Redis, valkey_url: str, collector: tuple[str, Told]
) -> None:
    where, told = collector
    with service_of(1, tmp_path, redis, valkey_url, VITGAN_OTLP_ENDPOINT=where) as service:
        service.draw("/generate", seed=1, resolution=32)
    # What was not sent yet is sent at the end of each process.
    spans = {(of, name): trace for of, name, trace in told}
    assert spans["vitgan-api", "POST /generate"] == spans["vitgan-worker", "draw"]


def test_a_collector_that_is_away_holds_nobody_up(tmp_path: Path, redis: Redis, valkey_url: str) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}"
    with service_of(1, tmp_path, redis, valkey_url, VITGAN_OTLP_ENDPOINT=nowhere) as service:
        service.draw("/generate", seed=1, resolution=32)
        began = time.monotonic()
        service.stop()
        assert time.monotonic() - began < 8
        assert [process.returncode for process in service.running] == [-15, 0]
