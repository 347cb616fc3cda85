from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any
from zlib import compress, crc32

import numpy as np
import pytest
import torch
from PIL import Image

from model import decoding, source
from model.data import Pictures, picture_store
from model.views import View

Paint = Callable[..., Path]


def load_pictures(source: Path, resolution: int, oversample: int = 1) -> Pictures:
    """As few pictures as a test likes; the cache lies beside the source."""
    store = picture_store(source, resolution * oversample, source.parent / f"{source.name}-cache")
    return Pictures(store, resolution, store.skipped, store.labels)


def png_of(kind: int, depth: int, row: bytes, key: bytes = b"", orientation: int = 0, side: int = 8) -> bytes:
    """A PNG of equal rows, of a kind and depth that Pillow cannot write."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", crc32(name + data))

    exif = Image.Exif()
    exif[0x0112] = orientation
    more = chunk(b"tRNS", key) if key else b""
    more += chunk(b"eXIf", exif.tobytes()[6:]) if orientation else b""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, depth, kind, 0, 0, 0))
    pixels = chunk(b"IDAT", compress((b"\0" + row) * 8))
    return b"\x89PNG\r\n\x1a\n" + head + more + pixels + chunk(b"IEND", b"")


def all_of(pictures: Pictures) -> torch.Tensor:
    return pictures.take(range(len(pictures)))


def test_a_folder_is_read_with_its_subfolders_in_the_order_of_names(tmp_path: Path, paint: Paint) -> None:
    paint("b.PNG", "lime")
    paint("a/deep/x.bmp", "red")
    paint("c.gif", "blue")
    (tmp_path / "notes.txt").write_text("no picture")
    pictures = load_pictures(tmp_path, 4)
    assert all_of(pictures).shape == (3, 3, 4, 4)
    assert all_of(pictures)[:, :, 0, 0].tolist() == [[255, 0, 0], [0, 255, 0], [0, 0, 255]]
    assert pictures.skipped == (("notes.txt", "no picture of a known format"),)


def test_a_zip_gives_what_its_folder_gives(tmp_path: Path, paint: Paint) -> None:
    names = ["b.png", "a/x.bmp"]
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for name, colour in zip(names, ("lime", "red"), strict=True):
            archive.write(paint(f"set/{name}", colour), name)
    zipped, unzipped = (load_pictures(tmp_path / name, 4) for name in ("set.zip", "set"))
    assert len(zipped) == 2
    assert torch.equal(all_of(zipped), all_of(unzipped))


@pytest.mark.parametrize(
    ("name", "mode", "colour", "expected"),
    [
        ("rgb.png", "RGB", (10, 20, 30), [10, 20, 30]),
        ("grey.png", "L", 77, [77, 77, 77]),
        ("bits.png", "1", 1, [255, 255, 255]),
        ("clear.png", "RGBA", (255, 0, 0, 0), [255, 255, 255]),
        ("half.png", "RGBA", (255, 0, 0, 51), [255, 204, 204]),
        ("clear-grey.png", "LA", (0, 0), [255, 255, 255]),
        ("cmyk.tif", "CMYK", (0, 255, 255, 0), [255, 0, 0]),
        ("still.webp", "RGBA", (0, 0, 255, 255), [0, 0, 255]),
    ],
)
def test_every_mode_becomes_rgb_on_white(
    paint: Paint, name: str, mode: str, colour: object, expected: list[int]
) -> None:
    folder = paint(name, colour, mode).parent
    colour_read = all_of(load_pictures(folder, 4))[0, :, 1, 2].tolist()
    assert colour_read == pytest.approx(expected, abs=2)  # WebP is lossy


def test_a_palette_picture_keeps_its_colours_and_its_holes(tmp_path: Path) -> None:
    image = Image.new("P", (8, 8), 1)
    image.putpalette([0, 0, 0, 200, 100, 50, 9, 9, 9])
    image.paste(2, (4, 0, 8, 8))
    image.save(tmp_path / "p.png", transparency=2)
    picture = all_of(load_pictures(tmp_path, 8))[0]
    assert picture[:, 0, 0].tolist() == [200, 100, 50]
    assert picture[:, 0, 7].tolist() == [255, 255, 255]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int) -> None:
    """The corner that the orientation says is at the top left comes out there."""
    corner = {
        1: (0, 0),
        2: (6, 0),
        3: (6, 6),
        4: (0, 6),
        5: (0, 0),
        6: (0, 6),
        7: (6, 6),
        8: (6, 0),
    }
    x, y = corner[orientation]
    image = Image.new("RGB", (8, 8), "black")
    image.paste("white", (x, y, x + 2, y + 2))
    exif = Image.Exif()
    exif[0x0112] = orientation
    image.save(tmp_path / "turned.png", exif=exif)
    picture = all_of(load_pictures(tmp_path, 8))[0, 0]
    assert (picture > 127).nonzero().tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]


def test_a_wide_picture_is_cut_to_its_middle(tmp_path: Path) -> None:
    image = Image.new("RGB", (24, 8), "red")
    image.paste("lime", (8, 0, 16, 8))
    image.save(tmp_path / "wide.png")
    assert all_of(load_pictures(tmp_path, 8))[0, 1].min() == 255


def test_unreadable_pictures_are_skipped_with_a_reason(tmp_path: Path, paint: Paint) -> None:
    whole = paint("good.png", size=(64, 64)).read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "fake.jpg").write_text("hello")
    pictures = load_pictures(tmp_path, 4)
    assert len(pictures) == 1
    reasons = dict(pictures.skipped)
    assert set(reasons) == {"cut.png", "fake.jpg"}
    assert "broken" in reasons["cut.png"]
    assert "no picture" in reasons["fake.jpg"]


def test_pictures_over_a_limit_are_skipped(
    tmp_path: Path, paint: Paint, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = paint("small.bmp")
    paint("large.bmp", size=(30, 30))
    paint("tiny.png", size=(1, 1))
    (tmp_path / "huge.png").write_bytes(png_of(2, 8, bytes(3 * 8), side=8001))
    monkeypatch.setattr(source, "MAX_BYTES", small.stat().st_size)
    pictures = load_pictures(tmp_path, 4)
    assert len(pictures) == 1
    reasons = dict(pictures.skipped)
    assert set(reasons) == {"large.bmp", "huge.png", "tiny.png"}
    assert "MiB" in reasons["large.bmp"]
    assert reasons["huge.png"] == "8001x8001 is over 64000000 pixels"
    assert reasons["tiny.png"] == "1x1 is too small: a side has at least 8 pixels"


def test_a_source_without_pictures_is_refused(tmp_path: Path) -> None:
    (tmp_path / "fake.png").write_text("hello")
    with pytest.raises(ValueError, match="no readable picture"):
        load_pictures(tmp_path, 4)
    for name in ("fake.png", "absent"):
        with pytest.raises(ValueError, match="neither a folder nor a zip"):
            load_pictures(tmp_path / name, 4)


@pytest.fixture
def numbered() -> Pictures:
    """Ten pictures; picture n is n all over."""
    images = torch.arange(10, dtype=torch.uint8)[:, None, None, None].expand(-1, 3, 2, 2)
    return Pictures(images, resolution=2)


def order(pictures: Pictures, first: int, count: int, seed: int = 0) -> list[int]:
    batch = pictures.batch(first, count, seed)
    return [round(value) for value in ((batch[:, 0, 0, 0] + 1) * 127.5).tolist()]


def test_an_epoch_shows_each_picture_once_and_in_another_order(numbered: Pictures) -> None:
    epochs = [order(numbered, 10 * epoch, 10) for epoch in range(5)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 5


def test_the_order_depends_on_the_position_alone(numbered: Pictures) -> None:
    whole = order(numbered, 0, 35)
    torch.manual_seed(5)  # nothing global counts
    for size in (1, 3, 4, 7, 13):
        parts = [order(numbered, k, min(size, 35 - k)) for k in range(0, 35, size)]
        assert [n for part in parts for n in part] == whole


def test_another_seed_is_another_order(numbered: Pictures) -> None:
    orders = {tuple(order(numbered, 0, 35, seed)) for seed in (0, 1, 5, 2**32 - 1)}
    assert len(orders) == 4


def test_sixteen_bit_grey_is_scaled_and_float_is_refused(tmp_path: Path) -> None:
    Image.fromarray(np.full((8, 8), 32768, np.uint16)).save(tmp_path / "a.png")
    Image.fromarray(np.full((8, 8), 0.5, np.float32)).save(tmp_path / "b.tiff")
    pictures = load_pictures(tmp_path, 4)
    assert all_of(pictures).unique().tolist() == [128]
    ((name, why),) = pictures.skipped
    assert (name, "mode F" in why) == ("b.tiff", True)


def test_a_damaged_member_is_skipped_and_the_rest_is_read(tmp_path: Path, paint: Paint) -> None:
    paint("good.png", (1, 2, 3))
    picture = (tmp_path / "good.png").read_bytes()
    with zipfile.ZipFile(tmp_path / "p.zip", "w") as archive:
        archive.writestr("bad.png", picture)
        archive.writestr("good.png", picture)
    whole = bytearray((tmp_path / "p.zip").read_bytes())
    whole[whole.index(picture) + 20] ^= 255
    (tmp_path / "p.zip").write_bytes(bytes(whole))
    pictures = load_pictures(tmp_path / "p.zip", 4)
    assert len(pictures) == 1
    assert [name for name, _ in pictures.skipped] == ["bad.png"]


@pytest.mark.parametrize("shift", [(0, 0), (2, 0), (0, -1), (-2, 1)])
def test_a_pixel_is_the_mean_of_its_fine_ones_at_the_shift(shift: tuple[int, int]) -> None:
    fine = torch.randint(0, 256, (1, 3, 12, 12), dtype=torch.uint8)
    pictures = Pictures(fine, resolution=3)
    assert pictures.oversample == 4
    expected = np.empty((3, 3, 3))
    for channel, y, x in product(range(3), range(3), range(3)):
        values = []
        for dy, dx in product(range(4), range(4)):  # beyond the border its pixels repeat
            row = min(max(4 * y + dy + shift[1], 0), 11)
            column = min(max(4 * x + dx + shift[0], 0), 11)
            values.append(int(fine[0, channel, row, column]) / 127.5 - 1)
        expected[channel, y, x] = sum(values) / 16
    views = [View(1, *shift)]
    assert pictures.batch(0, 1, 0, views=views)[0].numpy() == pytest.approx(expected, abs=1e-5)


def test_a_crop_is_cut_from_the_fine_picture_and_mirrored_with_it() -> None:
    fine = torch.randint(0, 256, (2, 3, 16, 16), dtype=torch.uint8)
    pictures, flip = Pictures(fine, resolution=4), torch.tensor([False, True])
    order = [round(float(v)) for v in (pictures.batch(0, 2, 0)[:, 0].mean((1, 2)) + 1) * 1e4]
    means = [round(float(v)) for v in fine[:, 0].double().mean((1, 2)) / 127.5 * 1e4]
    shown = [fine[means.index(mean)].double() / 127.5 - 1 for mean in order]
    shown[1] = shown[1].flip(2)
    half, quarter = View(2, 3, 5), View(4, 12, 1)
    first, second = pictures.batch(0, 2, 0, flip, [half, quarter])
    means_of_4 = shown[0][:, 5:13, 3:11].reshape(3, 4, 2, 4, 2).mean((2, 4))
    torch.testing.assert_close(first.double(), means_of_4, atol=1e-6, rtol=0)
    torch.testing.assert_close(second.double(), shown[1][:, 1:5, 12:16], atol=1e-6, rtol=0)


def test_pictures_are_kept_finer_by_the_oversampling(tmp_path: Path, paint: Paint) -> None:
    paint("a.png", size=(40, 40))
    pictures = load_pictures(tmp_path, 8, oversample=4)
    assert all_of(pictures).shape == (1, 3, 32, 32)
    assert pictures.batch(0, 3, 0).shape == (3, 3, 8, 8)


GREY, RGB, GREY_ALPHA, RGBA = 0, 2, 4, 6  # PNG's kinds
HALVES = {  # the left half is to be seen through, or white; the right half has this colour
    "1 bit": (GREY, 1, bytes([0b11110000]), struct.pack(">H", 1), 0),
    "2 bits": (GREY, 2, bytes([0xFF, 0x55]), struct.pack(">H", 3), 85),
    "4 bits": (GREY, 4, bytes([0xFF, 0xFF, 0x55, 0x55]), struct.pack(">H", 15), 85),
    "8 bits": (GREY, 8, bytes([200] * 4 + [85] * 4), struct.pack(">H", 200), 85),
    "16 bits": (GREY, 16, struct.pack(">8H", *[40000] * 4, *[85 * 257] * 4), struct.pack(">H", 40000), 85),
    "8 bits and alpha": (GREY_ALPHA, 8, bytes([9, 0] * 4 + [85, 255] * 4), b"", 85),
    "16 bits and alpha": (GREY_ALPHA, 16, struct.pack(">16H", *[9, 0] * 4, *[85 * 257, 65535] * 4), b"", 85),
    "colour": (RGB, 8, bytes([1, 2, 3] * 4 + [85] * 12), bytes([0, 1, 0, 2, 0, 3]), 85),
    "deep colour": (
        RGB, 16, struct.pack(">24H", *[40000, 257, 514] * 4, *[85 * 257] * 12),
        struct.pack(">3H", 40000, 257, 514), 85,
    ),
    "deep colour and alpha": (
        RGBA, 16, struct.pack(">32H", *[9, 9, 9, 0] * 4, *[*[85 * 257] * 3, 65535] * 4), b"", 85,
    ),
}  # fmt: skip


@pytest.mark.parametrize("orientation", [0, 2, 6, 8])
@pytest.mark.parametrize("half", HALVES)
def test_depth_alpha_and_orientation_in_every_combination(half: str, orientation: int) -> None:
    kind, depth, row, key, colour = HALVES[half]
    square = decoding.decode(png_of(kind, depth, row, key, orientation))
    expected = np.full((8, 8, 3), 255)
    expected[:, 4:] = colour
    turns = {0: 0, 2: 0, 6: 3, 8: 1}[orientation]
    expected = np.rot90(expected[:, ::-1] if orientation == 2 else expected, turns)
    assert np.array_equal(square, expected)


def test_a_deep_tiff_is_turned_and_white_may_be_zero(tmp_path: Path) -> None:
    deep = np.full((8, 16), 85 * 257, np.uint16)
    deep[:, 8:] = 0
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    Image.fromarray(deep).save(buffer, "TIFF", exif=exif)
    turned = decoding.decode(buffer.getvalue(), crop="pad")
    assert turned[0, 8].tolist() == [85] * 3
    assert turned[15, 8].tolist() == [0] * 3
    buffer = io.BytesIO()
    Image.fromarray(deep).save(buffer, "TIFF", tiffinfo={262: 0})
    assert decoding.decode(buffer.getvalue(), crop="pad")[8, [0, 15], 0].tolist() == [170, 255]


def test_content_and_not_the_name_says_what_a_picture_is(tmp_path: Path, paint: Paint) -> None:
    picture = paint("a.png").read_bytes()
    for name in ("b.jfif", "c", "d.txt", "e.avif"):
        (tmp_path / name).write_bytes(picture)
    assert len(load_pictures(tmp_path, 4)) == 5


def test_what_nobody_means_by_my_pictures_is_left_out(tmp_path: Path, paint: Paint) -> None:
    """Hidden folders, and grids that a run in the same folder has drawn."""
    for name in ("a.png", "run/mine.png", ".Trash/b.png", ".ipynb_checkpoints/a.png", "__MACOSX/._a.png"):
        paint(name)
    for name in (
        "runs/1/fakes000000008.png",
        "runs/1/reals.png",
        "runs/1/sub/curves.png",
        "report/neighbours.png",
    ):
        paint(name)
    for name in ("runs/1/training.json", "report/evaluation.json", "run/training.json"):
        (tmp_path / name).write_text("{}")
    store = picture_store(tmp_path, 4, tmp_path / "cache")
    again = picture_store(tmp_path, 4, tmp_path / "cache")  # which lies inside too
    assert store.names == ["a.png", "run/mine.png"]
    assert again.folder == store.folder
    reasons: dict[str, int] = {}
    for _, why in store.skipped:
        reasons[why] = reasons.get(why, 0) + 1
    assert reasons == {
        "hidden, or left by a file manager": 3,
        "written by a training": 4,
        "written by an evaluation": 1,
        "no picture of a known format": 2,
    }


def test_whatever_is_wrong_with_one_file_it_alone_is_left_out(
    tmp_path: Path, paint: Paint, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.png", "b.png", "c.png", "d.png"):
        paint(name)
    (tmp_path / "broken-link.png").symlink_to(tmp_path / "nowhere")
    errors = {
        "a.png": MemoryError(),
        "b.png": IndexError("strange"),
        "c.png": PermissionError(13, "Permission denied"),
    }
    read, exact = Path.open, source.Source.read

    def open_(path: Path, *args: Any, **named: Any) -> Any:
        if path.name == "c.png":
            raise errors["c.png"]
        return read(path, *args, **named)

    def strange(self: source.Source, name: str) -> bytes:
        if name in ("a.png", "b.png"):
            raise errors[name]
        return exact(self, name)

    monkeypatch.setattr(Path, "open", open_)
    monkeypatch.setattr(source.Source, "read", strange)
    pictures = load_pictures(tmp_path, 4)
    assert len(pictures) == 1
    assert dict(pictures.skipped) == {
        "a.png": "MemoryError",
        "b.png": "strange",
        "c.png": "cannot be read: Permission denied",
        "broken-link.png": "cannot be read: No such file or directory",
    }


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_member_that_would_unpack_without_a_bound_is_left_out(
    tmp_path: Path, paint: Paint, method: int
) -> None:
    with zipfile.ZipFile(tmp_path / "p.zip", "w") as archive:
        archive.write(paint("a.png"), "a.png")
        archive.write(paint("b.png"), "b.png", method)
    pictures = load_pictures(tmp_path / "p.zip", 4)
    assert pictures.skipped == (("b.png", "packed in an unusual way, use deflate"),)
