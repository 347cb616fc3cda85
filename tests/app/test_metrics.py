"""What /metrics exports: the table's names, what they count, and no series for what clients choose."""

from __future__ import annotations

import re

import pytest
from prometheus_client.parser import text_string_to_metric_families
from redis import Redis

from app.coalesce import Coalescer
from contract import keys
from contract.jobs import JobStore
from contract.messages import ImageBatch, TrainRequest
from contract.metrics import API, METHODS, TABLE, Kind
from contract.stream import Frame
from contract.stream import Kind as FrameKind
from tests.app.conftest import Api, Start

OPENMETRICS = "application/openmetrics-text;version=1.0.0"


async def series(api: Api) -> dict[str, float]:
    """Every series of ours, and its value."""
    text = (await api.http.get("/metrics")).text
    lines = [line for line in text.splitlines() if line.startswith("vitgan_")]
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines}


async def test_exactly_the_tables_names_are_exported(api: Api) -> None:
    answer = await api.http.get("/metrics")
    families = {
        family.name: family.type
        for family in text_string_to_metric_families(answer.text)
        if not family.name.startswith("process_")
    }
    expected = {m.name.removesuffix("_total"): str(m.kind) for m in TABLE if API in m.rooms}
    assert families == expected


async def test_every_label_value_of_a_closed_set_is_there_from_the_start(api: Api) -> None:
    told = await series(api)
    for metric in TABLE:
        for label, values in metric.labels.items() if API in metric.rooms else ():
            if not isinstance(values, str) and len(metric.labels) == 1:
                suffix = "_count" if metric.kind is Kind.HISTOGRAM else ""
                assert {f'{metric.name}{suffix}{{{label}="{value}"}}' for value in values} <= set(told)


async def test_images_and_requests_are_counted_by_template(api: Api) -> None:
    before = await series(api)
    for seed in range(3):
        await api.http.post("/generate", json={"seed": seed, "resolution": [64, 32]})
    await api.http.get("/images/default/5.png?resolution=8")  # sent on to the digest's URL
    await api.http.get("/nowhere/at/all")
    await api.http.post("/generate", json={"seed": -1})
    await api.http.put("/generate")
    await api.http.get("/static/absent.js")
    await api.http.get("/docs")
    after = await series(api)
    grown = {name: after[name] - before.get(name, 0) for name in after}

    def requests(route: str, method: str, code: int) -> float:
        return grown[f'vitgan_http_requests_total{{code="{code}",method="{method}",route="{route}"}}']

    assert requests("/generate", "POST", 200) == 3
    assert requests("/images/{model}/{seed}.{suffix}", "GET", 307) == 1
    assert requests("other", "GET", 404) == 1
    assert requests("/generate", "POST", 422) == 1
    assert requests("/generate", "PUT", 405) == 1
    assert requests("/static", "GET", 404) == requests("/docs", "GET", 200) == 1
    assert grown['vitgan_http_request_seconds_count{route="/generate"}'] == 5
    assert grown["vitgan_images_sent_total"] == grown["vitgan_image_answer_seconds_count"] == 3
    assert grown["vitgan_image_pixels_sent_total"] == 3 * 64 * 32
    assert grown["vitgan_batch_images_sum"] == 3
    assert grown["vitgan_http_sent_bytes_total"] > 0
    assert grown['vitgan_refusals_total{reason="invalid"}'] == 1
    assert grown['vitgan_refusals_total{reason="method"}'] == 1
    assert grown['vitgan_refusals_total{reason="not_found"}'] == 2
    assert after["vitgan_http_requests_in_progress"] == 1  # the one that asks


async def hit(api: Api, path: str, method: str = "GET") -> None:
    """One request without a client's overhead."""
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "path": path,
        "raw_path": path.encode(), "query_string": b"", "root_path": "", "scheme": "http", "headers": [],
        "client": ("test", 1), "server": ("test", 80), "state": {},
    }  # fmt: skip

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: object) -> None:
        """Nobody hears it."""

    await api.app(scope, receive, send)  # type: ignore[arg-type]


async def test_ten_thousand_seeds_and_unknown_paths_add_no_series(start: Start) -> None:
    api = await start(max_waiting=20_000)
    (model,) = api.services.library.list()
    image = f"/images/personas@{model.short_digest}/%d.png"
    await api.http.get(image % 1, params={"resolution": "8"})
    await api.http.post("/generate", json={"seeds": "0-1", "resolution": 8})
    for path, method in (("/nowhere", "GET"), ("/jobs/absent", "GET"), ("/nowhere", "BREW")):
        await hit(api, path, method)
    before = set(await series(api))
    answer = await api.http.post("/generate", json={"seeds": "0-9999", "resolution": 8})
    assert answer.status_code == 200
    for number in range(100):
        await api.http.get(image % number, params={"resolution": "8"})
    for number in range(10_000):
        await hit(api, f"/nowhere/{number}")
    for number in range(100):
        await hit(api, f"/jobs/{number}")
        await hit(api, "/nowhere", f"M{number}")
    after = await series(api)
    assert set(after) - before == set()
    unknown = [name for name in after if 'route="other"' in name and 'method="other"' in name]
    assert len(unknown) == 1
    assert "BREW" not in METHODS


async def test_openmetrics_has_the_ids_of_requests_beside_their_times(api: Api) -> None:
    await api.http.post("/generate", json={"seed": 1, "resolution": 8}, headers={"X-Request-ID": "find-me"})
    answer = await api.http.get("/metrics", headers={"Accept": OPENMETRICS})
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert answer.text.endswith("# EOF\n")
    found = re.findall(r'^(\w+)_bucket\{.*# \{request_id="find-me"\}', answer.text, re.MULTILINE)
    assert set(found) == {"vitgan_image_answer_seconds", "vitgan_http_request_seconds"}
    plain = await api.http.get("/metrics")
    assert plain.headers["content-type"].startswith("text/plain")
    assert "find-me" not in plain.text


async def test_how_the_service_stands_is_looked_up_when_it_is_asked(api: Api, redis: Redis) -> None:
    store = JobStore(redis)
    ids = [store.create(TrainRequest(dataset="d", preset="p", name=n, kimg=1, seed=0)) for n in "ab"]
    store.claim(ids[0], TrainRequest)
    redis.rpush(keys.of_version("train"), "doorbell")
    redis.zadd(keys.VERSIONS, {"train:1.2": redis.time()[0], "generate:1.2": redis.time()[0] - 60})
    told = await series(api)
    assert told['vitgan_jobs{kind="train",state="queued"}'] == 1
    assert told['vitgan_jobs{kind="train",state="running"}'] == 1
    assert told['vitgan_queue_messages{queue="train"}'] == 1
    assert told['vitgan_workers{queue="generate"}'] == 1
    assert told['vitgan_other_versions{queue="train"}'] == 1
    assert told['vitgan_other_versions{queue="generate"}'] == 0
    assert told['vitgan_redis_up{redis="jobs"}'] == told['vitgan_redis_up{redis="bytes"}'] == 1
    assert told['vitgan_redis_memory_bytes{redis="jobs"}'] > 100_000
    assert told["vitgan_under_way_images_limit"] == api.services.settings.max_waiting
    assert 0 < told["vitgan_data_free_bytes"] < told["vitgan_data_size_bytes"]
    (model,) = api.services.library.list()
    info = f'vitgan_model_info{{digest="{model.short_digest}",model="personas",preset="vitgan-ti-32"}}'
    assert (told["vitgan_models"], told[info]) == (1, 1)


async def test_what_cannot_be_known_is_no_number_and_the_rest_is_told(start: Start) -> None:
    api = await start(alive=False, redis_url="redis://127.0.0.1:1/0")
    told = await series(api)
    assert told['vitgan_redis_up{redis="jobs"}'] == told['vitgan_redis_up{redis="bytes"}'] == 0
    for name in ('vitgan_workers{queue="generate"}', "vitgan_webhooks_due"):
        assert told[name] != told[name]  # NaN
    assert told["vitgan_models"] == 1


async def test_an_order_that_nobody_answers_grows_old(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    oldest = await series(api)
    assert (oldest["vitgan_orders_open"], oldest["vitgan_orders_oldest_seconds"]) == (0, 0)
    api.painter.answer = lambda batch: []
    request = api.http.post("/generate", json={"seed": 1}, headers={"Prefer": "wait=1"})
    seen: list[tuple[int, float]] = []
    forgotten = Coalescer._answered

    def look(self: Coalescer, image_id: str) -> None:
        seen.append((len(self.sent), self.oldest()))
        forgotten(self, image_id)

    monkeypatch.setattr(Coalescer, "_answered", look)
    assert (await request).status_code == 503
    ((count, age),) = seen
    assert count == 1
    assert 0.9 < age < 3
    assert api.services.coalescer.oldest() == 0


async def test_an_answer_that_breaks_off_is_counted(api: Api) -> None:
    def breaks(batch: ImageBatch) -> list[Frame]:
        (item,) = batch.items
        meta = {"queue": 0, "batch": 1, "render": 0, "at": [0, 4, 1]}
        return [
            Frame(item.id, FrameKind.DATA, b"some", meta),
            Frame(item.id, FrameKind.ERROR, meta={"code": "internal"}),
        ]

    api.painter.answer = breaks
    before = await series(api)
    await api.http.post("/generate", json={"seed": 1})
    after = await series(api)
    cut = 'vitgan_http_answers_cut_total{by="service"}'
    assert after[cut] == before[cut] + 1


async def test_the_reaper_counts_what_it_takes_and_rings(api: Api, redis: Redis) -> None:
    from app.reaper import Reaper

    store = api.services.jobs
    redis.delete(keys.REAPER)
    before = await series(api)
    lost = store.create(TrainRequest(dataset="d", preset="p", name="lost", kimg=1, seed=0))
    store.claim(lost, TrainRequest)
    redis.zadd(keys.JOBS_RUNNING, {lost: 1})
    unheard = store.create(TrainRequest(dataset="d", preset="p", name="unheard", kimg=1, seed=0))
    redis.zadd(keys.JOB_RINGS, {unheard: 1})
    redis.delete(keys.REAPER)  # whatever this process's own reaper says
    Reaper(store, api.services.celery, api.services.fleet).look()
    after = await series(api)
    for name in ("vitgan_leases_expired_total", "vitgan_doorbells_rung_again_total"):
        assert after[name] == before[name] + 1
