"""The objects that count, made of the table in contract/metrics.py; one registry a kind of process."""

from __future__ import annotations

import importlib.metadata
import itertools
import math
import platform
from typing import TypeVar

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    start_http_server,
)

from contract.metrics import BY_NAME, ROOMS, Kind, Metric

DISTRIBUTION = "vitgan-service"
UNKNOWN = math.nan  # a gauge's value while nobody knows it

Instrument = TypeVar("Instrument", Counter, Gauge, Histogram)

disable_created_metrics()  # type: ignore[no-untyped-call]  # they double the series and nobody asks for them
REGISTRIES = {room: CollectorRegistry() for room in ROOMS}
for _registry in REGISTRIES.values():
    ProcessCollector(registry=_registry)  # memory, CPU time and open files, by their usual names


def counter(name: str) -> Counter:
    """The counter of that name."""
    metric = _metric(name, Kind.COUNTER)
    return _registered(Counter(name, metric.help, tuple(metric.labels), registry=None), metric)


def gauge(name: str, value: float = 0) -> Gauge:
    """The gauge of that name, with the value that it has until it is set."""
    metric = _metric(name, Kind.GAUGE)
    made = _registered(Gauge(name, metric.help, tuple(metric.labels), registry=None), metric)
    for series in _series(made, metric):
        series.set(value)
    return made


def histogram(name: str) -> Histogram:
    """The histogram of that name."""
    metric = _metric(name, Kind.HISTOGRAM)
    made = Histogram(name, metric.help, tuple(metric.labels), registry=None, buckets=metric.buckets)
    return _registered(made, metric)


def serve(room: str, host: str, port: int) -> None:
    """Exports that room's metrics there, in a thread; raises ``OSError`` if nothing can listen there."""
    start_http_server(port, host, REGISTRIES[room])


def _metric(name: str, kind: Kind) -> Metric:
    metric = BY_NAME[name]
    if metric.kind is not kind:
        raise TypeError(f"{name} is a {metric.kind} in the table")
    return metric


def _registered(made: Instrument, metric: Metric) -> Instrument:
    """In the registries of its rooms, with every series that the table knows there from the start."""
    for room in metric.rooms:
        REGISTRIES[room].register(made)
    _series(made, metric)
    return made


def _series(made: Instrument, metric: Metric) -> list[Instrument]:
    """Its series, if the table knows them all."""
    if not metric.labels:
        return [made]
    closed = [values for values in metric.labels.values() if not isinstance(values, str)]
    if len(closed) < len(metric.labels):
        return []
    return [made.labels(*values) for values in itertools.product(*closed)]


def _version() -> str:
    try:
        return importlib.metadata.version(DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:  # run from a folder of sources
        return "unknown"


gauge("vitgan_build_info").labels(version=_version(), python=platform.python_version()).set(1)
