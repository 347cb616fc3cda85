"""Traces by OpenTelemetry: where a request's time went, from the API through its order or job to the worker.

They are off unless the settings name a collector; only then do we import the packages of the extra ``otel``.
The API's span of a request is FastAPI's own. What a worker is told carries its place in the trace, as W3C's
``traceparent``, and the worker adds a span there.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from contract.settings import SharedSettings

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

END_SECONDS = 1.0

provider: TracerProvider | None = None  # None: no traces


def set_up_traces(room: str, settings: SharedSettings) -> None:
    """From now on this process sends spans to the collector that the settings name, if they name one.

    Raises ``ValueError`` if the packages for it are not installed.
    """
    if settings.otlp_endpoint is None:
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import SERVICE_NAME, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        raise ValueError(
            "VITGAN_OTLP_ENDPOINT is set, but traces need packages that are not installed here: "
            "pip install -e '.[otel]' in this project's folder"
        ) from None
    global provider
    provider = TracerProvider(
        resource=Resource.create({SERVICE_NAME: f"vitgan-{room}"}), shutdown_on_exit=False
    )
    exporter = OTLPSpanExporter(f"{settings.otlp_endpoint.rstrip('/')}/v1/traces")
    provider.add_span_processor(BatchSpanProcessor(exporter))


def end_traces() -> None:
    """Sends what has not been sent; a collector that is away keeps no process from its end."""
    if provider is not None:
        last = threading.Thread(target=provider.shutdown, daemon=True)  # its own time-outs are longer
        last.start()
        last.join(END_SECONDS)


def traceparent() -> str:
    """The place in the trace of what runs here; '' if there is none."""
    if provider is None:
        return ""
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier)
    return carrier.get("traceparent", "")


def tell_spans(name: str, parents: Iterable[str], seconds: float, **attributes: str | float) -> None:
    """Of work that ends now and took so long: a span below each of those places ('' is none)."""
    if provider is None:
        return
    from opentelemetry.trace import SpanKind
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    tracer, end = provider.get_tracer("vitgan"), time.time_ns()
    begin = end - int(seconds * 1e9)
    for parent in filter(None, parents):
        context = TraceContextTextMapPropagator().extract({"traceparent": parent})
        span = tracer.start_span(name, context, SpanKind.CONSUMER, attributes, start_time=begin)
        span.end(end)
