"""Archives that anybody may send: pictures are kept, all else is refused or left out; nothing escapes."""

from __future__ import annotations

import io
import struct
import time
import tracemalloc
import warnings
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from app.archives import FORMATS, keep_pictures
from app.errors import InvalidRequest, TooLarge
from app.settings import AppSettings
from tests.conftest import png, zip_of
from tests.fuzz.conftest import tried
from tests.fuzz.mutation import mutated

pytestmark = [  # Pillow warns of much that it goes on with; our own limits are below those of its warnings
    pytest.mark.fuzz,
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning"),
]
FUZZ = settings.get_profile("fuzz")
LIMITS = AppSettings(
    max_members=1000, max_unpacked_bytes=10_000_000, max_picture_bytes=1_000_000, max_picture_pixels=1_000_000
)
Keep = Callable[..., None]


@pytest.fixture
def keep(tmp_path: Path) -> Keep:
    """Keeps an upload's pictures in a folder of its own, and looks at what else has changed."""
    folder = tmp_path / "outer" / "incoming"
    folder.mkdir(parents=True)

    def run(kind: str, upload: bytes, limits: AppSettings = LIMITS) -> None:
        target, began = folder / "pictures.zip", time.monotonic()
        with tried(kind, InvalidRequest, TooLarge):
            contents = keep_pictures(io.BytesIO(upload), target, limits)
            with zipfile.ZipFile(target) as kept:
                assert len(kept.namelist()) == contents.kept > 0
                for name in kept.namelist():
                    with Image.open(kept.open(name)) as picture:
                        picture.load()
        assert time.monotonic() - began < 20  # of a busy machine; alone, under 2
        target.unlink(missing_ok=True)
        assert [path for path in tmp_path.rglob("*") if path.is_file()] == []

    return run


def picture(file_format: str) -> bytes:
    """Eight by eight, in colours that no format packs away."""
    buffer = io.BytesIO()
    Image.effect_noise((8, 8), 90).convert("RGB").save(buffer, file_format)
    return buffer.getvalue()


def packed(method: int, more: bytes = b"") -> bytes:
    """A zip of two pictures in a folder, with a comment, and a file of ZIP64's fields."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        archive.writestr("a.png", png())
        archive.writestr("sub/b.png", png((0, 255, 0)))
        with archive.open("long.png", "w", force_zip64=True) as file:
            file.write(png())
        archive.comment = more
    return buffer.getvalue()


PICTURES = [picture(file_format) for file_format in FORMATS]
ARCHIVES = [packed(zipfile.ZIP_STORED), packed(zipfile.ZIP_DEFLATED, b"comment"), packed(zipfile.ZIP_LZMA)]
ARCHIVES += [packed(zipfile.ZIP_BZIP2), zip_of({"inner.zip": packed(zipfile.ZIP_STORED)})]


@settings(FUZZ, max_examples=300)
@given(data=st.binary() | st.binary(max_size=60).map(b"PK\x03\x04".__add__))
def test_random_bytes(keep: Keep, data: bytes) -> None:
    keep("upload: random bytes", data)


@settings(FUZZ, max_examples=1500)
@given(data=st.sampled_from(ARCHIVES).flatmap(mutated))
def test_damaged_archives(keep: Keep, data: bytes) -> None:
    keep("upload: damaged zip", data)


@settings(FUZZ, max_examples=500)
@given(data=st.sampled_from(ARCHIVES).flatmap(lambda whole: mutated(whole, whole.index(b"PK\x01\x02"))))
def test_damaged_directories(keep: Keep, data: bytes) -> None:
    keep("upload: damaged zip directory", data)


@settings(FUZZ, max_examples=1500)
@given(data=st.sampled_from(PICTURES).flatmap(mutated))
def test_damaged_pictures(keep: Keep, data: bytes) -> None:
    keep("upload: damaged picture", zip_of({"b": data}))


PARTS = st.sampled_from(
    ("..", ".", "", "a", "C:", "c:x", "~", "\0", "a\0b", "con", "..\\..", "\\", "a" * 300)
)
NAMES = st.lists(PARTS | st.text(max_size=4), min_size=1, max_size=5).map("/".join)
KINDS_OF_FILE = st.sampled_from((0o100644, 0o120777, 0o020666, 0o010644, 0o140777, 0o040755, 0, 0o104755))


@settings(FUZZ, max_examples=800)
@given(members=st.lists(st.tuples(NAMES, KINDS_OF_FILE, st.integers(0, 0xFFFF)), min_size=1, max_size=5))
def test_hostile_names(keep: Keep, members: list[tuple[str, int, int]]) -> None:
    buffer = io.BytesIO()
    with warnings.catch_warnings(action="ignore"), zipfile.ZipFile(buffer, "w") as archive:
        for name, mode, attributes in members:
            info = zipfile.ZipInfo("x")
            info.filename, info.external_attr = name, mode << 16 | attributes  # as it is, not cleaned
            archive.writestr(info, png())
    keep("upload: hostile names", buffer.getvalue())


FIELDS = {  # of a member in the directory: where it stands, how it is packed
    "needs": (6, "<H"), "flags": (8, "<H"), "method": (10, "<H"), "crc": (16, "<I"), "packed": (20, "<I"),
    "size": (24, "<I"), "name": (28, "<H"), "extra": (30, "<H"), "comment": (32, "<H"), "disk": (34, "<H"),
    "offset": (42, "<I"),
}  # fmt: skip


@settings(FUZZ, max_examples=800)
@given(
    archive=st.sampled_from(ARCHIVES),
    lies=st.lists(
        st.tuples(
            st.integers(0, 2),
            st.sampled_from(sorted(FIELDS)),
            st.integers(0, 99) | st.sampled_from((0xFFFE, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF)),
        ),
        min_size=1,
        max_size=3,
    ),
)
def test_directories_that_lie(keep: Keep, archive: bytes, lies: list[tuple[int, str, int]]) -> None:
    data = bytearray(archive)
    for member, field, value in lies:
        at = data.index(b"PK\x01\x02")
        for _ in range(member):
            at = max(at, data.find(b"PK\x01\x02", at + 1))
        offset, form = FIELDS[field]
        struct.pack_into(form, data, at + offset, value & (0xFFFF if form == "<H" else 0xFFFFFFFF))
    keep("upload: lying zip directory", bytes(data))


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def claiming(side: int, more: bytes = b"") -> bytes:
    """A zip of a PNG that says a size and has one row of it."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(bytes(3 * side + 1), 9)) + chunk(b"IEND", b"")
    return zip_of({"a.png": b"\x89PNG\r\n\x1a\n" + head + more + body})


def zeros(count: int, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive, archive.open("zeros.png", "w") as file:
        for _ in range(count // 2**20):
            file.write(bytes(2**20))
    return buffer.getvalue()


def lying(archive: bytes, size: int) -> bytes:
    """Its directory says that the only member has ``size`` bytes."""
    data = bytearray(archive)
    struct.pack_into("<I", data, data.rindex(b"PK\x01\x02") + 24, size)
    return bytes(data)


BOMBS: dict[str, Callable[[], bytes]] = {
    "zeros, 1000:1": lambda: zeros(200 * 2**20),
    "zeros that say they are few": lambda: lying(zeros(200 * 2**20), 1000),
    "zeros, bzip2": lambda: zeros(60 * 2**20, zipfile.ZIP_BZIP2),
    "zeros, lzma": lambda: zeros(60 * 2**20, zipfile.ZIP_LZMA),
    "three at the limit": lambda: zip_of({f"{i}.png": bytes(60 * 2**20) for i in range(3)}),
    "a picture that says 40,000 x 40,000": lambda: claiming(40_000),
    "a picture that says 8,000 x 8,000": lambda: claiming(8000),
    "a text of 300 MB in a picture": lambda: claiming(
        1, chunk(b"zTXt", b"t\0\0" + zlib.compress(bytes(300 * 2**20), 9))
    ),
    "ten thousand files": lambda: zip_of({f"{i}.png": b"" for i in range(10_000)}),
    "a hundred thousand and one files": lambda: zip_of({f"{i}": b"" for i in range(100_001)}),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_bombs_take_little_memory(keep: Keep, bomb: str) -> None:
    upload = BOMBS[bomb]()
    tracemalloc.start()
    try:
        keep("upload: bomb", upload, AppSettings())
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 2.2 * AppSettings().max_picture_bytes, f"{most / 2**20:.0f} MB"
