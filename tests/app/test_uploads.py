"""Many uploads at once, and large ones: memory, threads and disk stay bounded, and nobody else waits."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import struct
import threading
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from app import archives, uploads
from app.archives import keep_pictures
from app.errors import TooLarge, Unavailable
from app.key_file import Scope, editing, new_key
from app.settings import AppSettings
from app.uploads import MOST, MOST_OF_A_CLIENT, Uploads
from contract.pictures import decode
from tests.app.conftest import Api, Start
from tests.app.test_datasets import PICTURES, upload
from tests.app.test_generate import refused
from tests.conftest import png, zip_of


def key_file(path: Path, *names: str) -> list[str]:
    """Makes the file; gives a key of each name, that may train."""
    made = [new_key(name, [Scope.TRAIN]) for name in names]
    with editing(path) as kept:
        kept += [one for _, one in made]
    return [key for key, _ in made]


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Checks of uploads do not end before the event is set."""
    release = threading.Event()

    def wait(*_: object) -> dict[str, Any]:
        release.wait(60)
        return {"name": "held", "pictures": 40, "bytes": 1, "created_at": "2026-01-01T00:00:00Z"}

    monkeypatch.setattr("app.routes.datasets.store_dataset", wait)
    yield release
    release.set()


async def test_small_answers_wait_for_no_upload(api: Api, held: threading.Event) -> None:
    data = zip_of(PICTURES)
    asked = [asyncio.create_task(upload(api, data, f"d{i}")) for i in range(44)]
    await asyncio.sleep(0.5)
    async with asyncio.timeout(30):
        for path in ("/healthz", "/readyz", "/models", "/datasets", "/metrics"):
            assert (await api.http.get(path)).status_code == 200
    held.set()
    answers: list[httpx.Response] = await asyncio.gather(*asked)  # type: ignore[arg-type]
    statuses = [answer.status_code for answer in answers]
    assert sorted(set(statuses)) == [201, 429]
    assert statuses.count(201) == MOST_OF_A_CLIENT
    late = answers[statuses.index(429)]
    refused(late, 429, "uploads of yours")
    assert int(late.headers["retry-after"]) > 0


def test_clients_together_have_a_bound_too() -> None:
    line = Uploads()
    with contextlib.ExitStack() as entered:
        for number in range(MOST - 1):
            entered.enter_context(line.enter(f"client {number}"))
        with line.enter("one more"), pytest.raises(Unavailable, match="under way"), line.enter("another"):
            pass
        with line.enter("another"):
            pass


async def test_clients_take_turns() -> None:
    """One whose uploads fill the line keeps nobody else out."""
    taken: list[str] = []
    line = Uploads()
    begun, go_on = threading.Event(), threading.Event()

    def work(client: str) -> Callable[[], None]:
        def run() -> None:
            taken.append(client)
            begun.set()
            go_on.wait(30)

        return run

    many = [asyncio.create_task(line.check("many", work("many"))) for _ in range(6)]
    await asyncio.to_thread(begun.wait, 30)
    other = asyncio.create_task(line.check("other", work("other")))
    while len(taken) < uploads.CHECKED_AT_ONCE:
        await asyncio.sleep(0.01)
    assert taken == ["many", "other"]
    go_on.set()
    await asyncio.gather(*many, other)


async def test_one_large_picture_is_decoded_at_a_time(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of clients that have nothing to do with each other."""
    monkeypatch.setattr(archives, "LARGE_BYTES", 1000)
    at_once, most = 0, 0
    counting = threading.Lock()

    def counted(picture: Image.Image) -> None:
        nonlocal at_once, most
        with counting:
            at_once += 1
            most = max(most, at_once)
        decode(picture)
        threading.Event().wait(0.02)
        with counting:
            at_once -= 1

    monkeypatch.setattr(archives, "decode", counted)
    keys = key_file(tmp_path / "keys.json", "a", "b", "c")
    api = await start(api_keys_file=tmp_path / "keys.json")
    data = zip_of({f"{i}.png": png(side=64) for i in range(10)})
    answers = await asyncio.gather(
        *(
            api.http.post(
                "/datasets", data={"name": f"d{i}"}, files={"file": ("x.zip", data)},
                headers={"Authorization": f"Bearer {key}"},
            )
            for i, key in enumerate(keys)
        )
    )  # fmt: skip
    assert [answer.status_code for answer in answers] == [201] * 3
    assert most == 1


def bmps(count: int, side: int = 1000) -> bytes:
    """A zip of pictures of one colour, which are large when they are unpacked."""
    files = {}
    for number in range(count):
        buffer = io.BytesIO()
        Image.new("RGB", (side, side), (number, 0, 0)).save(buffer, "BMP")
        files[f"{number}.bmp"] = buffer.getvalue()
    return zip_of(files)


async def test_what_came_packed_is_kept_packed(api: Api, tmp_path: Path) -> None:
    data = bmps(4)
    told = (await upload(api, data)).json()  # type: ignore[attr-defined]
    kept = tmp_path / "var/datasets/cats/pictures.zip"
    assert told["bytes"] == kept.stat().st_size < 2 * len(data) < 200_000


async def test_a_clients_datasets_take_so_much_disk(start: Start, tmp_path: Path) -> None:
    keys = key_file(tmp_path / "keys.json", "one", "two")
    api = await start(api_keys_file=tmp_path / "keys.json", max_client_dataset_bytes=70_000)
    data = zip_of({"a.png": png()})

    async def send(name: str, key: str) -> httpx.Response:
        return await api.http.post(
            "/datasets", data={"name": name}, files={"file": ("x.zip", data)}, headers={"X-API-Key": key}
        )

    answers = [await send(f"d{number}", keys[0]) for number in range(10)]
    stored = [answer for answer in answers if answer.status_code == 201]
    assert 1 <= len(stored) < 10
    refused(answers[-1], 507, "70000", "VITGAN_MAX_CLIENT_DATASET_BYTES")
    assert list((tmp_path / "var/datasets").glob(".*")) == []
    assert (await send("theirs", keys[1])).status_code == 201


def test_a_list_of_too_many_files_is_refused_before_it_is_parsed(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a.png", png())
    data = buffer.getvalue()
    at, end = data.index(b"PK\x01\x02"), data.index(b"PK\x05\x06")
    entry, count = data[at:end], 200_000
    tail = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 1, 1, count * len(entry), at, 0)
    sent = io.BytesIO(data[:at] + entry * count + tail)
    tracemalloc.start()
    try:
        with pytest.raises(TooLarge, match="files in the zip"):
            keep_pictures(sent, tmp_path / "kept.zip", AppSettings())
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 3 * count * len(entry)


async def test_all_pictures_of_an_upload_have_a_bound_of_pixels(start: Start) -> None:
    api = await start(max_upload_pixels=3 * 256)
    assert (await upload(api, zip_of({f"{i}.png": png() for i in range(3)}), "three")).status_code == 201  # type: ignore[attr-defined]
    refused(await upload(api, zip_of({f"{i}.png": png() for i in range(4)}), "four"), 413, "768 pixels")


async def test_long_names_do_not_make_a_dataset_unreadable(api: Api) -> None:
    files = {f"{i}{'x' * 30_000}.txt": b"none" for i in range(100)}
    told = (await upload(api, zip_of(files | {"a.png": png()}))).json()  # type: ignore[attr-defined]
    assert len(json.dumps(told)) < 100_000
    assert (await api.http.get("/datasets/cats")).json() == told


async def test_a_refused_upload_makes_room_for_the_next(api: Api) -> None:
    for _ in range(MOST_OF_A_CLIENT + 2):
        refused(await upload(api, b"none"), 422, "zip")
