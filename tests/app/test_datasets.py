from __future__ import annotations

import io
import os
import struct
import time
import tracemalloc
import zipfile
import zlib
from pathlib import Path

import pytest
from PIL import Image

from app.archives import keep_pictures
from app.settings import AppSettings
from model.data import picture_store
from tests.app.conftest import Api, Start
from tests.app.test_generate import refused
from tests.conftest import png, zip_of

PICTURES = {"a.png": png(), "sub/b.png": png((0, 255, 0))}


async def upload(api: Api, data: bytes, name: str = "cats") -> object:
    return await api.http.post("/datasets", data={"name": name}, files={"file": ("x.zip", data)})


def huge_png() -> bytes:
    """A few bytes that claim to be 40,000 x 40,000 pixels."""
    data = bytearray(png())
    data[16:24] = struct.pack(">II", 40_000, 40_000)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    return bytes(data)


def linked() -> bytes:
    """A zip with a symbolic link."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        info = zipfile.ZipInfo("link.png")
        info.external_attr = 0o120777 << 16
        archive.writestr(info, "/etc/passwd")
    return buffer.getvalue()


async def test_pictures_are_kept_and_the_rest_is_named(api: Api, tmp_path: Path) -> None:
    files = PICTURES | {
        "notes.txt": b"hello",
        "broken.png": png()[:40],
        "bomb.png": huge_png(),
        "__MACOSX/._a.png": b"junk",
    }
    answer = await upload(api, zip_of(files))
    assert answer.status_code == 201, answer.text
    told = answer.json()
    assert (told["name"], told["pictures"], told["skipped"]) == ("cats", 2, 4)
    reasons = {item["name"]: item["reason"] for item in told["skipped_files"]}
    assert set(reasons) == {"notes.txt", "broken.png", "bomb.png", "__MACOSX/._a.png"}
    assert "pixels" in reasons["bomb.png"]
    assert (await api.http.get("/datasets/cats")).json() == told
    with zipfile.ZipFile(tmp_path / "var/datasets/cats/pictures.zip") as kept:
        assert sorted(kept.namelist()) == sorted(PICTURES)
        assert Image.open(io.BytesIO(kept.read("a.png"))).size == (16, 16)


async def test_datasets_are_listed_in_pages(api: Api) -> None:
    for name in ("c", "a", "b"):
        assert (await upload(api, zip_of(PICTURES), name)).status_code == 201
    first = (await api.http.get("/datasets", params={"limit": 2})).json()
    assert ([item["name"] for item in first["items"]], first["next_cursor"]) == (["a", "b"], "b")
    rest = (await api.http.get("/datasets", params={"limit": 2, "cursor": "b"})).json()
    assert ([item["name"] for item in rest["items"]], rest["next_cursor"]) == (["c"], None)


def with_field(offset: int, value: int) -> bytes:
    """A zip whose directory says something else of its first file."""
    data = bytearray(zip_of(PICTURES))
    struct.pack_into("<H", data, data.index(b"PK\x01\x02") + offset, value)
    return bytes(data)


def nameless() -> bytes:
    """A zip of a file without a name."""
    data = zip_of({"x": png()})
    return data.replace(b"x", b"\0")  # zipfile ends names there


@pytest.mark.parametrize(
    ("data", "status", "word"),
    [
        (with_field(6, 254), 422, "zip file version"),  # that it takes to unpack it
        (with_field(8, 0x800).replace(b"a.png", b"\xff.png"), 422, "not a readable zip"),  # no UTF-8
        (nameless(), 422, "no name"),
        (b"", 422, "empty"),
        (b"not a zip at all", 422, "zip"),
        (zip_of({}), 422, "no readable picture"),
        (zip_of({"a.txt": b"x"}), 422, "no readable picture"),
        (zip_of(PICTURES)[:-30], 422, "zip"),
        (zip_of(PICTURES | {"../evil.png": png()}), 422, "../evil.png"),
        (zip_of(PICTURES | {"/etc/evil.png": png()}), 422, "/etc/evil.png"),
        (zip_of(PICTURES | {"..\\evil.png": png()}), 422, "evil.png"),
        (zip_of(PICTURES | {"C:/evil.png": png()}), 422, "evil.png"),
        (linked(), 422, "link.png"),
    ],
)
async def test_a_bad_archive_is_refused_and_leaves_nothing(
    api: Api, tmp_path: Path, data: bytes, status: int, word: str
) -> None:
    refused(await upload(api, data), status, word)
    assert list(tmp_path.glob("var/datasets/*")) == []
    assert list(tmp_path.glob("var/datasets/.*")) == []


async def test_archives_over_a_limit_are_413(start: Start) -> None:
    api = await start(max_members=3, max_unpacked_bytes=100_000, max_upload_bytes=20_000)
    refused(await upload(api, zip_of({f"{i}.png": png() for i in range(4)})), 413, "4 files", "3")
    bomb = zip_of({"zeros.png": b"\0" * 1_000_000})
    assert len(bomb) < 20_000
    refused(await upload(api, bomb), 413, "100000")
    refused(await upload(api, b"\0" * 200_000), 413, "body")


async def test_a_member_that_lies_about_its_size_is_skipped(api: Api) -> None:
    data = bytearray(zip_of(PICTURES | {"zz.png": b"\0" * 100_000}))
    at = data.rindex(b"PK\x01\x02")
    data[at + 24 : at + 28] = struct.pack("<I", 10)  # the directory says 10 bytes
    told = (await upload(api, bytes(data))).json()
    assert (told["pictures"], [item["name"] for item in told["skipped_files"]]) == (2, ["zz.png"])


def packed(method: int, size: int) -> bytes:
    """A zip of 64 MB of zeros, of which its directory says ``size`` bytes, beside a picture."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        archive.writestr("zeros.png", bytes(64 * 2**20))
        archive.writestr("a.png", png(), zipfile.ZIP_STORED)
    data = bytearray(buffer.getvalue())
    struct.pack_into("<I", data, data.index(b"PK\x01\x02") + 24, size)
    return bytes(data)


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_what_unpacks_to_more_than_it_says_takes_no_memory(tmp_path: Path, method: int) -> None:
    upload = packed(method, 1000)
    tracemalloc.start()
    try:
        contents = keep_pictures(io.BytesIO(upload), tmp_path / "kept.zip", AppSettings())
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (contents.kept, [name for name, _ in contents.skipped]) == (1, ["zeros.png"])
    assert most < 8 * 2**20


async def test_a_name_in_use_is_409(api: Api) -> None:
    assert (await upload(api, zip_of(PICTURES))).status_code == 201
    refused(await upload(api, zip_of(PICTURES)), 409, "cats", "another name")


@pytest.mark.parametrize("name", ["", "..", "../x", "a/b", "UPPER", "x" * 65, ".hidden"])
async def test_a_bad_name_is_422(api: Api, name: str) -> None:
    refused(await upload(api, zip_of(PICTURES), name), 422, "name")


async def test_missing_or_unknown_fields_are_told(api: Api) -> None:
    files = {"file": ("x.zip", zip_of(PICTURES))}
    refused(await api.http.post("/datasets", files=files), 422, "name")
    refused(await api.http.post("/datasets", data={"name": "cats"}), 415, "multipart")
    refused(await api.http.post("/datasets", json={"name": "cats"}), 415, "multipart")


@pytest.mark.parametrize("path", ["nobody", "..%2f..%2fetc", "%2e%2e", "a%00b", ".incoming-1"])
async def test_unknown_datasets_are_404(api: Api, path: str) -> None:
    refused(await api.http.get(f"/datasets/{path}"), 404)


async def test_what_a_died_process_left_of_an_upload_is_removed(start: Start, tmp_path: Path) -> None:
    """By the next process that starts, and by the next upload; one that is under way stays."""
    ages = {".incoming-died": 5000, ".incoming-coming": 5}
    for name, age in ages.items():
        (tmp_path / "var/datasets" / name).mkdir(parents=True)
        os.utime(tmp_path / "var/datasets" / name, (time.time() - age,) * 2)
    api = await start()
    left = tmp_path / "var/datasets"
    assert [path.name for path in left.iterdir()] == [".incoming-coming"]
    os.utime(left / ".incoming-coming", (time.time() - 5000,) * 2)
    assert (await upload(api, zip_of(PICTURES))).status_code == 201  # type: ignore[attr-defined]
    assert [path.name for path in left.iterdir()] == ["cats"]


def picture(file_format: str, mode: str = "RGB", side: int = 16) -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, (side, side)).save(buffer, file_format)
    return buffer.getvalue()


async def test_an_upload_keeps_what_a_training_reads_and_nothing_else(api: Api, tmp_path: Path) -> None:
    """One rule: by content, and by where a file lies."""
    files = {
        "a.png": png(), "b.avif": png(), "c": picture("JPEG"), "d.txt": picture("WEBP"),
        "deep.png": picture("PNG", "I;16"),
        "f.gif": picture("GIF"), "g.bmp": picture("BMP"), "h.tif": picture("TIFF", "CMYK"),
        "i.tif": picture("TIFF", "F"),
        "j.tif": picture("TIFF", "I"), "tiny.png": picture("PNG", side=7), "real.avif": picture("AVIF"),
        "k.ico": picture("ICO"), "notes.png": b"hello", "empty.png": b"", "cut.png": png()[:40],
        ".Trash/l.png": png(), "run/training.json": b"{}", "run/reals.png": png(),
        "run/fakes000000008.png": png(),
    }  # fmt: skip
    archive = tmp_path / "all.zip"
    archive.write_bytes(zip_of(files))
    read = picture_store(archive, 8, tmp_path / "cache")
    told = (await upload(api, archive.read_bytes())).json()  # type: ignore[attr-defined]
    with zipfile.ZipFile(tmp_path / "var/datasets/cats/pictures.zip") as kept:
        assert sorted(kept.namelist()) == read.names
    assert read.names == ["a.png", "b.avif", "c", "d.txt", "deep.png", "f.gif", "g.bmp", "h.tif"]
    assert {item["name"]: item["reason"] for item in told["skipped_files"]} == dict(read.skipped)
    again = picture_store(tmp_path / "var/datasets/cats/pictures.zip", 8, tmp_path / "cache")
    assert (again.names, again.skipped) == (read.names, ())


async def test_labels_are_kept_with_their_pictures(api: Api, tmp_path: Path) -> None:
    labels = b'{"labels": [["a.png", 3], ["sub/b.png", 4]]}'
    files = {f"all/{name}": data for name, data in PICTURES.items()} | {"all/dataset.json": labels}
    told = (await upload(api, zip_of(files))).json()  # type: ignore[attr-defined]
    assert (told["pictures"], told["skipped"]) == (2, 0)
    kept = tmp_path / "var/datasets/cats/pictures.zip"
    assert picture_store(kept, 8, tmp_path / "cache").labels == (3, 4)
    files["all/dataset.json"] = b'{"labels": 3}'
    refused(await upload(api, zip_of(files), "other"), 422, "all/dataset.json has no list of labels")
    refused(await upload(api, zip_of({"dataset.json": labels}), "none"), 422, "no readable picture")
