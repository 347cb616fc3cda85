from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

from contract.instruments import counter
from contract.metrics import REASONS, ROOMS, TABLE, Kind

ROOT = Path(__file__).resolve().parents[2]


def test_names_are_as_prometheus_wants_them() -> None:
    assert len({metric.name for metric in TABLE}) == len(TABLE)
    for metric in TABLE:
        assert re.fullmatch(r"vitgan_[a-z_]+", metric.name)
        assert metric.name.endswith("_total") == (metric.kind is Kind.COUNTER), metric.name
        stem = metric.name.removesuffix("_total")
        for unit in ("seconds", "bytes", "ratio"):
            assert stem.endswith(f"_{unit}") == (metric.unit == unit), metric.name
        assert metric.unit not in ("milliseconds", "megabytes", "percent")
        assert metric.rooms, metric.name
        assert set(metric.rooms) <= set(ROOMS)
        assert bool(metric.buckets) == (metric.kind is Kind.HISTOGRAM)
        assert list(metric.buckets) == sorted(metric.buckets)


def test_each_is_made_once_of_its_kind() -> None:
    made = re.compile(r'\b(counter|gauge|histogram)\(\s*"(\w+)"')
    sources = [path for room in ("app", "contract", "worker") for path in (ROOT / room).rglob("*.py")]
    found = sorted(match[::-1] for path in sources for match in made.findall(path.read_text()))
    assert found == sorted((metric.name, str(metric.kind)) for metric in TABLE)
    with pytest.raises(TypeError, match="is a gauge"):
        counter("vitgan_models")
    with pytest.raises(KeyError):
        counter("vitgan_inventions_total")


def test_labels_are_given_the_values_of_the_table() -> None:
    """Reasons and outcomes are words in the code; each of them is one that the table knows, and is used."""
    sources = [path.read_text() for room in ("app", "worker") for path in (ROOT / room).rglob("*.py")]
    errors = (ROOT / "app" / "errors.py").read_text()
    said = {word for text in sources for word in re.findall(r'reason="(\w+)"', text)}
    said |= set(re.findall(r'\d{3}: "(\w+)"', errors)) | {"other"}
    said |= set(re.findall(r'"(no_worker|redis_away)"', (ROOT / "app" / "services.py").read_text()))
    assert said == set(REASONS)
    known = {value for m in TABLE for value in m.labels.get("outcome", ()) if isinstance(value, str)}
    assert {word for text in sources for word in re.findall(r'outcome = "(\w+)"', text)} <= known


def test_the_page_is_not_stale() -> None:
    page = runpy.run_path(str(ROOT / "scripts" / "metrics-page"))["page"]()
    assert (ROOT / "docs" / "metrics.md").read_text() == page, "scripts/metrics-page > docs/metrics.md"
