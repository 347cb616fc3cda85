from __future__ import annotations

import asyncio
import io
import zipfile

import pytest
from redis import Redis

from app.zips import ASKED_AHEAD
from contract import keys
from contract.messages import ImageBatch
from contract.queue import GENERATE
from contract.stream import Frame, Kind
from tests.app.conftest import Api, Start, whole
from tests.app.test_generate import refused


def entries(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.mark.parametrize("seeds", [[3, 1, 12345, 2], "3,1,12345,2", "1-3,12345"])
async def test_several_seeds_are_a_zip_of_their_images(api: Api, seeds: object) -> None:
    answer = await api.http.post("/generate", json={"seeds": seeds, "resolution": 64, "truncation": 0.5})
    assert answer.headers["content-type"] == "application/zip"
    assert 'filename="personas.zip"' in answer.headers["content-disposition"]
    expected = [3, 1, 12345, 2] if seeds != "1-3,12345" else [1, 2, 3, 12345]
    found = entries(answer.content)
    assert list(found) == [f"seed{seed:04d}.png" for seed in expected]
    assert list(found.values()) == [f"{seed} 64x64 0.5".encode() for seed in expected]
    assert [len(batch.items) for batch in api.painter.batches] == [2, 2]  # shared out evenly
    again = await api.http.post("/generate", json={"seeds": seeds, "resolution": 64, "truncation": 0.5})
    assert again.content == answer.content
    assert again.headers["etag"] == answer.headers["etag"]


async def test_one_of_several_is_a_zip_too_and_names_follow_the_format(api: Api) -> None:
    answer = await api.http.post("/generate", json={"seeds": [7], "format": "jpeg", "resolution": 8})
    assert list(entries(answer.content)) == ["seed0007.jpg"]


async def test_many_are_asked_for_a_bounded_number_at_a_time(start: Start) -> None:
    api, most = await start(max_batch=8), 0

    def count(batch: ImageBatch) -> list[Frame]:
        nonlocal most
        most = max(most, len(api.services.replies))
        return whole(batch)

    api.painter.answer = count
    answer = await api.http.post("/generate", json={"seeds": "0-399", "resolution": 8})
    assert len(entries(answer.content)) == 400
    assert most <= ASKED_AHEAD
    assert len(api.services.replies) == 0


def in_parts(batch: ImageBatch) -> list[Frame]:
    (item,) = batch.items
    meta = {"queue": 0, "batch": 1, "render": 0}
    data = [
        Frame(item.id, Kind.DATA, b"%d;" % n, {"at": [n, 0, 1]} | (meta if n == 0 else {}), 2 * n)
        for n in range(3)
    ]
    return [*data, Frame(item.id, Kind.LAST, b"%d" % item.seed, start=6)]


async def test_large_images_come_one_after_the_other(api: Api, redis: Redis) -> None:
    api.painter.answer = in_parts
    answer = await api.http.post("/generate", json={"seeds": [5, 6], "resolution": 2048})
    assert entries(answer.content) == {"seed0005.png": b"0;1;2;5", "seed0006.png": b"0;1;2;6"}
    kept = [keys.workers(GENERATE), keys.ARITHMETIC, keys.GATES, keys.REAPER]
    assert sorted(redis.keys("*")) == sorted(kept)  # nothing is left behind


@pytest.mark.parametrize("resolution", [64, 2048])
async def test_a_zip_that_cannot_be_finished_breaks_the_connection(api: Api, resolution: int) -> None:
    def fail(batch: ImageBatch) -> list[Frame]:
        return [
            Frame(item.id, Kind.ERROR, meta={"code": "internal"})
            if item.seed == 150
            else Frame(item.id, Kind.LAST, b"x", {"queue": 0, "batch": 1, "render": 0})
            for item in batch.items
        ]

    api.painter.answer = fail
    with pytest.raises(Exception, match="worker failed"):
        async with asyncio.timeout(10):
            await api.strict.post("/generate", json={"seeds": "0-199", "resolution": resolution})
    await asyncio.sleep(0)
    assert len(api.services.replies) == 0
    refused(await api.http.post("/generate", json={"seeds": [150], "resolution": 64}), 500, "worker failed")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"seeds": []}, ("seeds", '"0-15,20"')),
        ({"seeds": "5-1"}, ("seeds", "rising range")),
        ({"seeds": "a"}, ("seeds", "0-15,20")),
        ({"seeds": "0-4294967295"}, ("4294967296 seeds", "10000")),
        ({"seeds": list(range(10_001))}, ("10001 seeds", "10000")),
        ({"seeds": [1, 1]}, ("twice",)),
        ({"seeds": [-1]}, ("0 to 4294967295",)),
        ({"seeds": [True]}, ("whole numbers",)),
        ({"seeds": 5}, ("seeds",)),
        ({"seed": 1, "seeds": [2]}, ("give one of them",)),
    ],
)
async def test_wrong_seeds_are_told(api: Api, body: dict[str, object], words: tuple[str, ...]) -> None:
    refused(await api.http.post("/generate", json=body), 422, *words)
    assert api.painter.batches == []
