"""Dashboards, alerts and their documents hold together, without a Prometheus."""

from __future__ import annotations

import json
import re
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from contract.metrics import TABLE, Kind

ROOT = Path(__file__).resolve().parent.parent
GRAFANA, PROMETHEUS = ROOT / "docker" / "grafana", ROOT / "docker" / "prometheus"
DASHBOARDS = sorted((GRAFANA / "dashboards").glob("*.json"))
ENDS = ("_bucket", "_sum", "_count")
EXPORTED = {m.name for m in TABLE if m.kind is not Kind.HISTOGRAM} | {
    f"{m.name}{end}" for m in TABLE if m.kind is Kind.HISTOGRAM for end in ENDS
}


def names_in(expression: str) -> set[str]:
    """Metrics of ours in it."""
    return set(re.findall(r"(?<!\w)vitgan_\w+", expression))


def rules() -> list[dict[str, Any]]:
    loaded = yaml.safe_load((PROMETHEUS / "rules.yml").read_text())
    return [rule for group in loaded["groups"] for rule in group["rules"]]


ALERTS = [rule for rule in rules() if "alert" in rule]


def test_the_dashboards_are_not_stale(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(GRAFANA))
    files = runpy.run_path(str(GRAFANA / "panels.py"))["files"]()
    sys.modules.pop("boards", None)
    assert {path: path.read_text() for path in DASHBOARDS} == files, "run docker/grafana/panels.py"


def test_every_metric_that_is_used_is_exported() -> None:
    panels = [panel for path in DASHBOARDS for panel in json.loads(path.read_text())["panels"]]
    queries = [target["expr"] for panel in panels for target in panel.get("targets", ())]
    assert len(queries) > 60
    used = {name for query in queries for name in names_in(query)}
    assert used - EXPORTED == set()
    assert {name for rule in rules() for name in names_in(rule["expr"])} - EXPORTED == set()
    shown = {name.removesuffix(end) for name in used for end in ("", *ENDS)}
    assert {m.name for m in TABLE} - shown - {"vitgan_training_attempts_total", "vitgan_models"} == set()


def test_panels_of_a_dashboard_do_not_overlap() -> None:
    for path in DASHBOARDS:
        taken: set[tuple[int, int]] = set()
        panels = json.loads(path.read_text())["panels"]
        assert len({panel["id"] for panel in panels}) == len(panels)
        for panel in panels:
            x, y, w, h = (panel["gridPos"][name] for name in "xywh")
            cells = {(column, row) for column in range(x, x + w) for row in range(y, y + h)}
            assert not cells & taken, panel["title"]
            assert x + w <= 24
            taken |= cells


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: str(alert["alert"]))
def test_each_alert_has_a_section_of_the_runbook_and_two_tests(alert: dict[str, Any]) -> None:
    document, _, anchor = alert["annotations"]["runbook"].partition("#")
    titles = re.findall(r"^## (.+)$", (ROOT / document).read_text(), re.MULTILINE)
    assert anchor in {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
    assert alert["alert"] in (ROOT / document).read_text()
    tests = yaml.safe_load((PROMETHEUS / "tests.yml").read_text())["tests"]
    expected = [
        bool(case["exp_alerts"])
        for test in tests
        for case in test["alert_rule_test"]
        if case["alertname"] == alert["alert"]
    ]
    assert set(expected) == {True, False}
    assert alert["labels"]["severity"] in ("page", "ticket")
