from __future__ import annotations

import pytest
from redis import Redis

from contract import keys
from contract.arithmetic import PORTABLE
from contract.queue import image_queue
from tests.app.conftest import Api, Start
from tests.app.test_generate import refused

NATIVE = "cpu-avx512-0a1b2c"


async def fleet(start: Start, *kinds: str, **settings: object) -> Api:
    """An API with a painter that beats as those kinds."""
    api = await start(alive=False, **settings)
    for kind in kinds:
        api.painter.come_alive(kind)
    api.services.fleet.look()
    return api


async def test_a_kind_is_named_in_everything_that_its_bytes_follow_from(start: Start) -> None:
    api = await fleet(start, NATIVE)
    answer = await api.http.post("/generate", json={"seed": 7, "resolution": 64})
    model = api.services.model("default")
    assert answer.headers["x-model"] == f"personas@{model.short_digest}+{NATIVE}"
    assert api.painter.batches[-1].arithmetic == NATIVE
    moved = await api.http.get("/images/default/7.png?resolution=64")
    assert moved.headers["location"] == f"/images/personas@{model.short_digest}+{NATIVE}/7.png?resolution=64"
    again = await api.http.get(moved.headers["location"])
    assert again.headers["etag"] == answer.headers["etag"]
    assert "immutable" in again.headers["cache-control"]
    iiif = await api.http.get("/iiif/3/default:7/full/64,64/0/default.png", follow_redirects=True)
    assert iiif.headers["x-model"] == answer.headers["x-model"]


async def test_both_kinds_draw_side_by_side_and_none_answers_for_the_other(start: Start) -> None:
    api = await fleet(start, NATIVE, PORTABLE)
    digest = api.services.model("default").short_digest
    portable = await api.http.get(f"/images/personas@{digest}/7.png")
    native = await api.http.get(f"/images/personas@{digest}+{NATIVE}/7.png")
    assert [batch.arithmetic for batch in api.painter.batches] == [PORTABLE, NATIVE]
    assert portable.headers["etag"] != native.headers["etag"]
    has = {"If-None-Match": portable.headers["etag"]}
    assert (await api.http.get(f"/images/personas@{digest}+{NATIVE}/7.png", headers=has)).status_code == 200
    assert (await api.http.get("/readyz")).json()["arithmetic"] == {NATIVE: 1, PORTABLE: 1}


@pytest.mark.parametrize("preferred", [PORTABLE, NATIVE])
async def test_the_preferred_kind_draws_what_names_none(start: Start, preferred: str) -> None:
    api = await fleet(start, NATIVE, PORTABLE, preferred_arithmetic=preferred)
    await api.http.post("/generate", json={"seed": 1})
    await api.http.post("/generate", json={"seeds": [1, 2]})
    await api.http.post("/generate", json={"seeds": [1, 2], "layout": "grid"})
    assert {batch.arithmetic for batch in api.painter.batches} == {preferred}
    assert api.services.fleet.job_queue("draw") == image_queue(preferred)


async def test_bytes_of_a_kind_that_no_worker_has_are_refused(start: Start) -> None:
    api = await fleet(start, NATIVE)
    digest = api.services.model("default").short_digest
    answer = await api.http.get(f"/images/personas@{digest}/7.png")
    refused(answer, 503, f"no image worker of arithmetic 'portable' is running, only of {NATIVE}")
    refused(await api.http.get(f"/images/personas@{digest}+GPU!/7.png"), 404, "personas")
    assert api.painter.batches == []


async def test_a_repeated_request_is_not_answered_by_another_kind(start: Start, redis: Redis) -> None:
    api = await fleet(start, PORTABLE)
    once = {"Idempotency-Key": "one"}
    assert (await api.http.post("/generate", json={"seed": 1}, headers=once)).status_code == 200
    redis.delete(keys.ARITHMETIC)
    api.painter.come_alive(NATIVE)
    api.services.fleet.look()
    refused(await api.http.post("/generate", json={"seed": 1}, headers=once), 409, "other workers draw it")
