from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import httpx
import pytest
from redis import Redis
from redis.exceptions import ConnectionError as NoConnectionError

from app.orders import ALONE_PIXELS
from contract import keys
from contract.messages import ImageBatch, Position
from contract.queue import GENERATE
from contract.stream import CREDIT, GONE, Frame, Kind
from tests.app.conftest import Api, Start, whole


def refused(answer: httpx.Response, status: int, *words: str) -> dict[str, Any]:
    """Checks that the answer is a problem object of that status whose detail has those words."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = answer.json()
    assert problem["status"] == status
    for word in words:
        assert word in problem["detail"]
    assert "Traceback" not in answer.text
    return problem


async def test_an_image_comes_with_what_it_is(api: Api) -> None:
    body = {"seed": 42, "resolution": [333, 200], "truncation": 0.5}
    answer = await api.http.post("/generate", json=body)
    assert answer.status_code == 200
    assert answer.content == b"42 333x200 0.5"
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["content-length"] == str(len(answer.content))
    assert answer.headers["x-seed"] == "42"
    model = api.services.model("default")
    assert answer.headers["x-model"] == f"personas@{model.digest[:12]}"
    assert answer.headers["server-timing"] == 'queue;dur=1.0, batch;desc="1", render;dur=2.0'
    assert len(answer.headers["x-request-id"]) == 32


async def test_defaults_are_256_px_a_random_seed_and_the_promoted_model(api: Api) -> None:
    answers = [await api.http.post("/generate", json={}) for _ in range(2)]
    seeds = [answer.headers["x-seed"] for answer in answers]
    assert seeds[0] != seeds[1]
    assert answers[0].text == f"{seeds[0]} 256x256 1.0"


async def test_the_etag_follows_everything_the_bytes_depend_on(api: Api, models_dir: Path) -> None:
    async def etag(**body: object) -> str:
        answer = await api.http.post("/generate", json={"seed": 1, "resolution": 64} | body)
        return str(answer.headers["etag"])

    tag = await etag()
    assert tag.startswith('"')
    assert tag == await etag(resolution=[64, 64], truncation=1, model="personas")
    others = {await etag(seed=2), await etag(resolution=65), await etag(truncation=0.9)}
    (models_dir / "personas" / "model.safetensors").write_bytes(b"other weights")
    others.add(await etag())
    assert len(others | {tag}) == 5


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"seed": -1}, ("seed", "-1")),
        ({"seed": 2**32}, ("seed", "4294967295")),
        ({"seed": 1.5}, ("seed", "1.5")),
        ({"seed": "7"}, ("seed",)),
        ({"seed": True}, ("seed",)),
        ({"seeds": [1, 2.5]}, ("seeds", "whole numbers")),
        ({"seeds": [1, True]}, ("seeds", "whole numbers")),
        ({"seeds": "٣-٤"}, ("seeds", "0-15,20")),
        ({"truncation": "0.5"}, ("truncation", "give a number")),
        ({"truncation": True}, ("truncation", "give a number")),
        ({"seeds": [1, 2], "layout": "grid", "across": "2"}, ("across", "give a whole number")),
        ({"seed": None, "sead": None}, ("sead", "unknown field")),
        ({"resolution": 0}, ("resolution", "1 to 65536")),
        ({"resolution": 65537}, ("resolution", "65536")),
        ({"resolution": [64]}, ("resolution", "[width, height]")),
        ({"resolution": [64, 64, 3]}, ("resolution",)),
        ({"resolution": [64, True]}, ("resolution",)),
        ({"resolution": [64.5, 64]}, ("resolution",)),
        ({"resolution": "64"}, ("resolution",)),
        ({"resolution": {"width": 64}}, ("resolution",)),
        ({"resolution": [65536, 65536], "format": "jpeg"}, ("4294967296 pixels", "16777216", "PNG")),
        ({"resolution": [16384, 10], "format": "webp"}, ("WebP", "16383")),
        ({"format": "gif"}, ("format", "'png', 'webp' or 'jpeg'")),
        ({"resolution": 64, "region": [0, 0, 65, 1]}, ("region", "64x64", "x + width may be 64")),
        ({"region": [0, 0, 0, 1]}, ("region", "width and height from 1")),
        ({"region": [-1, 0, 1, 1]}, ("region", "[x, y, width, height]")),
        ({"region": [0, 0, 1]}, ("region", "[x, y, width, height]")),
        ({"region": [0, 0, 1, True]}, ("region", "[x, y, width, height]")),
        ({"truncation": 1.01}, ("truncation", "1")),
        ({"truncation": -0.1}, ("truncation", "0")),
        ({"truncation": "NaN"}, ("truncation",)),
        ({"model": 5}, ("model",)),
        ({"sead": 1}, ("sead", "unknown field")),
        ([], ("body",)),
    ],
)
async def test_a_wrong_field_is_told(api: Api, body: Any, words: tuple[str, ...]) -> None:
    refused(await api.http.post("/generate", json=body), 422, *words)
    assert api.painter.batches == []


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ('{"seed": 1e2, "resolution": 64.0}', b"100 64x64 1.0"),
        ('{"seed": 100.0, "resolution": [6.4e1, 32]}', b"100 64x32 1.0"),
        ('{"seed": 7, "resolution": 64, "region": [0, 0, 8.0, 1e0], "truncation": 1}', b"7 8x1 1.0"),
        ('{"seed": 7, "resolution": null, "truncation": null, "model": null}', b"7 256x256 1.0"),
        ('{"seed": 7, "region": null}', b"7 256x256 1.0"),
        ('{"seed": 7, "seeds": null, "format": null, "layout": null, "across": null, "webhook": null}',
         b"7 256x256 1.0"),
    ],
)  # fmt: skip
async def test_a_number_is_what_it_is_in_json_and_null_is_absence(
    api: Api, written: str, meant: bytes
) -> None:
    answer = await api.http.post("/generate", content=written, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.content) == (200, meant)


async def test_a_seed_that_is_null_is_drawn_by_lot(api: Api) -> None:
    answers = [await api.http.post("/generate", json={"seed": None}) for _ in range(2)]
    assert answers[0].headers["x-seed"] != answers[1].headers["x-seed"]


@pytest.mark.parametrize(
    "url",
    [
        "/jobs", "/jobs/nobody", "/models", "/models/default", "/datasets", "/webhooks/dead", "/healthz",
        "/readyz", "/metrics", "/images/default/1.png", "/iiif/3/default:1/info.json",
    ],
)  # fmt: skip
async def test_an_unknown_parameter_of_a_url_is_refused_everywhere(api: Api, url: str) -> None:
    refused(await api.http.get(url, params={"limt": 5}), 422, "limt: unknown field of the URL")


async def test_what_may_stand_in_a_url_is_told(api: Api) -> None:
    refused(await api.http.get("/jobs?limt=5"), 422, "it takes cursor, limit")
    refused(await api.http.post("/generate?seed=5", json={}), 422, "it takes none")
    assert (await api.http.get("/?utm_source=mail")).status_code == 200


@pytest.mark.parametrize(
    "url",
    [
        "/jobs?limit=1_0", "/jobs?limit=%2B5", "/jobs?limit=+5", "/jobs?limit=5.0", "/jobs?limit=true",
        "/jobs?limit=٣", "/models?limit=", "/datasets?limit=0x5", "/images/default/٣.png",
        "/images/default/1.png?resolution=٦٤", "/images/default/1.png?truncation=nan",
        "/images/default/1.png?truncation=0_1", "/images/default/1.png?truncation=",
        "/iiif/3/default:٣/info.json",
    ],
)  # fmt: skip
async def test_digits_of_a_url_are_ascii(api: Api, url: str) -> None:
    answer = await api.http.get(url, follow_redirects=True)
    assert answer.status_code == (404 if url.startswith("/iiif") else 422)


BOUND = 20_000  # bytes of an answer to any refused request


@pytest.mark.parametrize(
    "body",
    [
        {f"field{number}": 1 for number in range(15_000)},
        {"x" * 250_000: 1},
        {"model": "m" * 250_000},
        {"seeds": "1-" * 100_000},
        {"seeds": "7" * 250_000},
        {"resolution": [1] * 100_000},
        {"format": "f" * 250_000},
    ],
    ids=["many fields", "a long name", "model", "seeds", "digits", "resolution", "format"],
)
async def test_an_answer_does_not_grow_with_what_is_wrong(api: Api, body: dict[str, Any]) -> None:
    answer = await api.http.post("/generate", json=body)
    assert answer.status_code in (404, 422)
    assert len(answer.content) < BOUND
    assert not answer.json()["detail"].endswith("...")  # what to change is told in any case


async def test_many_wrong_fields_are_counted(api: Api) -> None:
    answer = await api.http.post("/generate", json={f"field{number}": 1 for number in range(25)})
    assert len(refused(answer, 422, "field0: unknown field", "and 15 more")["errors"]) == 10


async def test_neither_does_one_to_a_url(api: Api) -> None:
    many = "&".join(f"{number}" for number in range(5_000))
    for url in (f"/jobs?{many}&{many}", f"/images/default/1.png?{many}", f"/{'x' * 60_000}",
                f"/jobs/{'x' * 60_000}", f"/datasets/{'x' * 60_000}", f"/models/{'x' * 60_000}"):  # fmt: skip
        answer = await api.http.get(url)
        assert answer.status_code in (404, 422)
        assert len(answer.content) < BOUND


@pytest.mark.parametrize("route", ["/generate", "/interpolate", "/train"])
@pytest.mark.parametrize("media", [None, "application/x-www-form-urlencoded", "text/plain", "nonsense"])
async def test_a_body_that_is_not_sent_as_json_is_415_and_says_what_to_send(
    api: Api, route: str, media: str | None
) -> None:
    headers = {"Content-Type": media} if media else {}
    answer = await api.http.post(route, content=b'{"seed": 1}', headers=headers)
    problem = refused(answer, 415, "send the header Content-Type: application/json", "curl: -H")
    assert "got" not in problem["detail"]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ([], "body: give a JSON object (got [])"),
        (None, "body"),
        ({"model": True}, "(got true)"),
        ({"resolution": [None, False]}, "(got [null, false])"),
        ({"seed": {"a": None}}, '(got {"a": null})'),
        ({"webhook": False}, "(got false)"),
    ],
)
async def test_no_answer_speaks_python(api: Api, body: Any, words: str) -> None:
    detail = refused(await api.http.post("/generate", json=body), 422, words)["detail"]
    assert not re.search(r"None|True|False|dictionary|\bb'", detail)


@pytest.mark.parametrize("content", [b"", b"{", b"seed=1", b"\xff\xfe"])
async def test_what_is_no_json_is_told(api: Api, content: bytes) -> None:
    answer = await api.http.post("/generate", content=content, headers={"content-type": "application/json"})
    refused(answer, 422 if content != b"\xff\xfe" else answer.status_code)
    assert answer.status_code in (400, 422)


@pytest.mark.parametrize("model", ["nobody", "../personas", "personas/", "/etc/passwd", "", "PERSONAS"])
async def test_an_unknown_model_is_404(api: Api, model: str) -> None:
    refused(await api.http.post("/generate", json={"model": model}), 404, "model", "GET /models")


async def test_our_own_x_model_names_a_model_everywhere(api: Api) -> None:
    told = (await api.http.post("/generate", json={"seed": 1})).headers["x-model"]
    name, _, digest = told.partition("@")
    for reference in (told, f"default@{digest}"):
        again = await api.http.post("/generate", json={"seed": 1, "model": reference})
        assert (again.status_code, again.headers["x-model"]) == (200, told)
        asked = {"seeds": [1, 2], "model": reference}
        job = await api.http.post("/interpolate", json=asked, headers={"Prefer": "respond-async"})
        assert job.status_code == 202
        assert (await api.http.get(f"/models/{reference}")).json()["name"] == name
        assert (await api.http.post(f"/models/{reference}/promote")).json()["default"] is True
        for path in (f"/images/{reference}/1.png", f"/iiif/3/{reference}:1/info.json"):
            assert (await api.http.get(path, follow_redirects=True)).status_code == 200


@pytest.mark.parametrize(
    "reference", ["personas@", "personas@abc", f"personas@{'0' * 12}", "personas@x+y", "@"]
)
async def test_another_digest_is_404_everywhere(api: Api, reference: str) -> None:
    answers = [
        await api.http.post("/generate", json={"model": reference}),
        await api.http.get(f"/models/{reference}"),
        await api.http.get(f"/images/{reference}/1.png"),
        await api.http.get(f"/iiif/3/{reference}:1/info.json"),
    ]
    for answer in answers:
        refused(answer, 404, "model")


async def test_a_kind_that_no_worker_has_is_503(api: Api) -> None:
    told = (await api.http.post("/generate", json={"seed": 1})).headers["x-model"]
    for headers in ({}, {"Prefer": "respond-async"}):
        asked = {"seed": 1, "model": f"{told}+cpu-other"}
        refused(await api.http.post("/generate", json=asked, headers=headers), 503, "'cpu-other'")


async def test_a_body_over_the_limit_is_413_declared_or_not(api: Api) -> None:
    big = b'{"model": "' + b"x" * 300_000 + b'"}'
    refused(await api.http.post("/generate", content=big), 413, "262144")

    async def parts() -> Any:
        for start in range(0, len(big), 1000):
            yield big[start : start + 1000]

    answer = await api.http.post("/generate", content=parts(), headers={"content-type": "application/json"})
    refused(answer, 413, "262144")


async def test_without_a_worker_it_is_503_with_retry_after(start: Start) -> None:
    api = await start(alive=False)
    answer = await api.http.post("/generate", json={})
    refused(answer, 503, "no image worker")
    assert int(answer.headers["retry-after"]) > 0


async def test_without_redis_it_is_503_and_the_api_lives(start: Start) -> None:
    api = await start(alive=False, redis_url="redis://127.0.0.1:1/0")
    refused(await api.http.post("/generate", json={}), 503, "Redis")
    refused(await api.http.get("/jobs"), 503, "Redis")
    assert (await api.http.get("/healthz")).status_code == 200
    assert (await api.http.get("/models")).status_code == 200


async def test_more_than_may_wait_are_refused(start: Start) -> None:
    api = await start(max_waiting=3, answer_seconds=2)
    api.painter.answer = lambda batch: []
    answers = await asyncio.gather(*(api.http.post("/generate", json={}) for _ in range(5)))
    told = sorted(answer.json()["detail"] for answer in answers)
    assert [("waiting already" in detail) for detail in told] == [True, True, False, False, False]
    assert all(answer.status_code == 503 and answer.headers["retry-after"] for answer in answers)
    assert len(api.services.replies) == 0


async def test_images_that_come_together_are_one_batch(api: Api) -> None:
    bodies = [{"seed": seed, "resolution": 64, "truncation": seed / 10} for seed in range(10)]
    answers = await asyncio.gather(*(api.http.post("/generate", json=body) for body in bodies))
    assert [answer.text for answer in answers] == [f"{s} 64x64 {s / 10}" for s in range(10)]
    sizes = [len(batch.items) for batch in api.painter.batches]
    assert sum(sizes) == 10
    assert len(sizes) <= 2  # the first to be let in may find the workers idle, and waits for nobody


async def test_sizes_do_not_mix_and_large_images_are_alone(api: Api) -> None:
    side = int(ALONE_PIXELS**0.5) + 1
    sizes = [64, 64, 65, side, side]
    await asyncio.gather(*(api.http.post("/generate", json={"resolution": size}) for size in sizes))
    shapes = sorted((batch.columns.count, len(batch.items)) for batch in api.painter.batches)
    assert shapes == [(64, 2), (65, 1), (side, 1), (side, 1)]


async def test_while_the_workers_are_busy_the_next_batch_grows(start: Start) -> None:
    api = await start(max_batch=8, gather_seconds=0)
    api.painter.answer = lambda batch: []

    async def ask(images: int, batches: int) -> list[asyncio.Task[httpx.Response]]:
        """Waits until they have arrived and so many batches have been sent in all."""
        body = {"resolution": 64}
        tasks = [asyncio.create_task(api.http.post("/generate", json=body)) for _ in range(images)]
        awaited = len(api.services.replies) + images
        while len(api.services.replies) < awaited or len(api.painter.batches) < batches:
            await asyncio.sleep(0.01)
        return tasks

    asked = [*await ask(1, 1), *await ask(1, 2), *await ask(18, 2)]
    held = list(api.painter.batches)
    assert [len(batch.items) for batch in held] == [1, 1]
    api.painter.answer = held_answer
    for batch in held:
        for frame in held_answer(batch):
            api.painter.redis.rpush(keys.replies(batch.reply_to), frame.encode())
    assert {answer.text for answer in await asyncio.gather(*asked)} == {"late"}
    assert [len(batch.items) for batch in api.painter.batches] == [1, 1, 8, 8, 2]


def held_answer(batch: ImageBatch) -> list[Frame]:
    meta = {"queue": 0, "batch": len(batch.items), "render": 0}
    return [Frame(item.id, Kind.LAST, b"late", meta) for item in batch.items]


async def test_a_large_image_streams_and_pays_a_credit_a_chunk(
    api: Api, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    meta = {"queue": 0, "batch": 1, "render": 0, "at": [0, 2, 1]}

    def stream(batch: ImageBatch) -> list[Frame]:
        (item,) = batch.items
        middle = [Frame(item.id, Kind.DATA, b"%d;" % n, {"at": [n, 0, 1]}, 2 * n) for n in range(1, 5)]
        return [Frame(item.id, Kind.DATA, b"0;", meta), *middle, Frame(item.id, Kind.LAST, b"end", start=10)]

    paid: list[str] = []
    end = api.services.replies._end

    async def spy(image_id: str, complete: bool) -> None:
        paid.extend(redis.lrange(keys.credits(image_id), 0, -1))  # type: ignore[arg-type]
        await end(image_id, complete)

    monkeypatch.setattr(api.services.replies, "_end", spy)
    api.painter.answer = stream
    answer = await api.http.post("/generate", json={"resolution": 2048})
    assert answer.content == b"0;1;2;3;4;end"
    assert paid == [CREDIT.decode()] * 5
    kept = [keys.workers(GENERATE), keys.ARITHMETIC, keys.GATES, keys.REAPER]
    assert sorted(redis.keys("*")) == sorted(kept)  # nothing is left behind
    assert len(api.services.replies) == 0


def with_losses(batch: ImageBatch) -> list[Frame]:
    """Two chunks and the end of the first worker's, without the second; then the rest, asked for anew."""
    (item,) = batch.items
    meta = {"queue": 0, "batch": 1, "render": 0, "at": [0, 2, 7]}
    if batch.position.offset:
        return [Frame(item.id, Kind.LAST, b"1;end")]
    return [Frame(item.id, Kind.DATA, b"0;", meta), Frame(item.id, Kind.LAST, b"end", start=4)]


async def test_bytes_that_redis_lost_are_asked_for_again(api: Api) -> None:
    api.painter.answer = with_losses
    answer = await api.http.post("/generate", json={"resolution": 2048})
    assert answer.content == b"0;1;end"
    assert api.painter.batches[1].position == Position(strip=0, offset=2, adler=7)
    assert len(api.services.replies) == 0


async def test_a_lost_beginning_is_asked_for_again(api: Api) -> None:
    def lost_once(batch: ImageBatch) -> list[Frame]:
        (item,) = batch.items
        meta = {"queue": 0, "batch": 1, "render": 0}
        start = 4 if len(api.painter.batches) == 1 else 0
        return [Frame(item.id, Kind.LAST, b"whole"[start:], meta, start)]

    api.painter.answer = lost_once
    answer = await api.http.post("/generate", json={"resolution": 2048})
    assert answer.content == b"whole"
    first, second = (batch.items[0] for batch in api.painter.batches)
    assert first.id != second.id  # whatever comes late of the first is nobody's
    assert second.deadline <= first.deadline + 0.1  # the client waits no longer for it
    assert len(api.services.replies) == len(api.services.coalescer.sent) == 0


async def test_what_is_awaited_while_redis_ends_is_asked_for_again(
    api: Api, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A Redis that ended took frames with it, of which nobody tells: no worker has failed, none comes later.
    api.painter.answer = lambda batch: []
    task = asyncio.create_task(api.http.post("/generate", json={}))
    while not api.painter.batches:
        await asyncio.sleep(0.01)
    take, fails = api.services.replies.redis.blmpop, [NoConnectionError("closed by the server")]

    async def fail_once(*args: Any, **more: Any) -> Any:
        if fails:
            raise fails.pop()
        return await take(*args, **more)

    monkeypatch.setattr(api.services.replies.redis, "blmpop", fail_once)
    redis.rpush(keys.replies(api.services.replies.id), b"no frame")  # wakes the reader
    while fails:
        await asyncio.sleep(0.01)
    api.painter.answer = whole
    redis.rpush(keys.replies(api.services.replies.id), b"no frame")
    assert (await task).status_code == 200
    assert len({batch.items[0].id for batch in api.painter.batches}) == len(api.painter.batches) == 2


async def test_bytes_that_come_twice_are_taken_once(api: Api) -> None:
    def twice(batch: ImageBatch) -> list[Frame]:
        (item,) = batch.items
        meta = {"queue": 0, "batch": 1, "render": 0, "at": [0, 3, 1]}
        first = Frame(item.id, Kind.DATA, b"abc", meta)
        longer = Frame(item.id, Kind.DATA, b"abcde", meta)
        return [first, first, longer, Frame(item.id, Kind.LAST, b"def", start=3)]

    api.painter.answer = twice
    assert (await api.http.post("/generate", json={"resolution": 2048})).content == b"abcdef"


async def test_an_image_given_up_midway_breaks_the_connection(api: Api, redis: Redis) -> None:
    def broken(batch: ImageBatch) -> list[Frame]:
        (item,) = batch.items
        first = Frame(item.id, Kind.DATA, b"half", {"queue": 0, "batch": 1, "render": 0, "at": [0, 4, 1]})
        return [first, Frame(item.id, Kind.ERROR, meta={"code": "internal"})]

    api.painter.answer = broken
    client = httpx.AsyncClient(transport=httpx.ASGITransport(api.app), base_url="http://test")
    with pytest.raises(Exception, match="internal"):
        await client.post("/generate", json={"resolution": 2048})
    item = api.painter.batches[0].items[0]
    assert redis.lrange(keys.credits(item.id), 0, -1)[0] == GONE.decode()


@pytest.mark.parametrize(
    ("code", "status", "word"), [("model_gone", 503, "replaced"), ("internal", 500, "worker failed")]
)
async def test_a_workers_refusal_is_told(api: Api, code: str, status: int, word: str) -> None:
    api.painter.answer = lambda batch: [
        Frame(item.id, Kind.ERROR, meta={"code": code}) for item in batch.items
    ]
    refused(await api.http.post("/generate", json={}), status, word)
    assert len(api.services.replies) == 0


async def test_a_queue_that_takes_nothing_is_503(api: Api) -> None:
    async def away(batch: ImageBatch) -> None:
        raise ConnectionError("no")

    api.services.coalescer.publish = away
    refused(await api.http.post("/generate", json={}), 503, "Redis")


async def test_the_clients_request_id_is_kept_if_it_is_sane(api: Api) -> None:
    given = await api.http.post("/generate", json={}, headers={"X-Request-ID": "abc-1"})
    assert given.headers["x-request-id"] == "abc-1"
    other = await api.http.post("/generate", json={"seed": -1}, headers={"X-Request-ID": "a b!"})
    assert refused(other, 422)["request_id"] == other.headers["x-request-id"] != "a b!"


async def test_garbage_among_the_replies_is_dropped(api: Api, redis: Redis) -> None:
    redis.rpush(keys.replies(api.services.replies.id), "garbage")
    assert (await api.http.post("/generate", json={"seed": 1, "resolution": 8})).text == "1 8x8 1.0"
