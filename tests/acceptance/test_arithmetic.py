"""Workers of two kinds of arithmetic behind one API."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image
from redis import Redis

from contract.arithmetic import PORTABLE
from tests.acceptance.processes import service_of, until
from tests.worker.test_arithmetic import needs_avx2

pytestmark = [pytest.mark.acceptance, needs_avx2]


def test_each_kind_draws_its_own_images_and_says_so(tmp_path: Path, redis: Redis, valkey_url: str) -> None:
    with service_of(1, tmp_path, redis, valkey_url) as service, service.http() as http:
        portable = service.running[-1]
        service.env["VITGAN_ARITHMETIC"] = "native"
        service.start("worker")
        until(lambda: service.ready(2), 60)
        kinds = http.get("/readyz").json()["arithmetic"]
        (native,) = kinds.keys() - {PORTABLE}
        assert kinds == {PORTABLE: 1, native: 1}

        answer = http.post("/generate", json={"seed": 7, "resolution": 64})
        assert "+" not in answer.headers["x-model"]
        named = answer.headers["x-model"]
        pinned = http.get(f"/images/{named}+{native}/7.png", params={"resolution": 64})
        assert pinned.headers["x-model"] == f"{named}+{native}"
        assert pinned.headers["etag"] != answer.headers["etag"]
        with Image.open(io.BytesIO(pinned.content)) as image:
            assert image.text["Model"].endswith(f"+{native}")  # type: ignore[attr-defined]

        portable.terminate()
        portable.wait(30)
        until(lambda: list(http.get("/readyz").json()["arithmetic"]) == [native], 60)
        job = http.post("/generate", json={"seed": 7, "resolution": 64}, headers={"Prefer": "respond-async"})
        where = f"/jobs/{job.json()['id']}"
        until(lambda: http.get(where).json()["status"] == "succeeded", 60)
        assert http.get(f"{where}/result").headers["x-model"] == f"{named}+{native}"
        assert http.get(f"{where}/result").content == pinned.content
        refusal = http.get(f"/images/{named}/7.png", params={"resolution": 64})
        assert refusal.status_code == 503
        assert "no image worker of arithmetic 'portable'" in refusal.json()["detail"]
