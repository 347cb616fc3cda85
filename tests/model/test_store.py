"""The store on disk: made once, reused while it matches, made anew when not, never trusted when damaged."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from model import data
from model.data import Pictures, check_trainable, load_pictures, picture_store
from model.store import DamagedStore, Store
from model.views import View

Paint = Callable[..., Path]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path.cwd()), "OMP_NUM_THREADS": "1"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Forty pictures of differing sizes and random pixels."""
    source = tmp_path / "source"
    source.mkdir()
    random = np.random.default_rng(0)
    for index in range(40):
        pixels = random.integers(0, 256, (8 + index % 5, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(source / f"{index:02d}.png")
    return source


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Counts the pictures that are decoded from now on."""
    calls: list[int] = []
    decode = data.decode

    def counting(*args: object) -> np.ndarray:
        calls.append(1)
        return decode(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(data, "decode", counting)
    return calls


def test_a_store_is_reused_and_nothing_is_decoded_again(
    folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = decoded(monkeypatch)
    first = load_pictures(folder, 4, 2, cache=cache)
    assert len(calls) == 40
    second = load_pictures(folder, 4, 2, cache=cache)
    assert len(calls) == 40
    assert torch.equal(first.take(range(40)), second.take(range(40)))
    load_pictures(folder, 5, 1, cache=cache)  # each size is a store of its own
    assert len(calls) == 80


def changed_picture(folder: Path) -> None:
    Image.new("RGB", (8, 8), "red").save(folder / "00.png")


def renamed_picture(folder: Path) -> None:
    (folder / "00.png").rename(folder / "zz.png")


def touched_picture(folder: Path) -> None:
    """As large as before; only the time tells."""
    path = folder / "00.png"
    os.utime(path, ns=(1, path.stat().st_mtime_ns + 1))


@pytest.mark.parametrize("change", [changed_picture, renamed_picture, touched_picture])
def test_a_changed_source_is_decoded_anew(
    folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], None]
) -> None:
    picture_store(folder, 4, cache)
    change(folder)
    calls = decoded(monkeypatch)
    store = picture_store(folder, 4, cache)
    assert len(calls) == 40
    names = sorted(path.name for path in folder.glob("*.png"))
    assert store.names == names


def test_other_options_are_another_store(folder: Path, cache: Path) -> None:
    stores = [
        picture_store(folder, 4, cache),
        picture_store(folder, 5, cache),
        picture_store(folder, 4, cache, crop="pad"),
        picture_store(folder, 4, cache, crop="pad", background="black"),
    ]
    assert len({store.folder for store in stores}) == 4
    assert picture_store(folder, 4, cache, background="#ffffff").folder == stores[0].folder


def cut(store: Store, name: str) -> None:
    path = store.folder / name
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize("name", ["index.json", "pixels.bin"])
def test_a_truncated_store_is_made_anew(folder: Path, cache: Path, name: str) -> None:
    store = picture_store(folder, 4, cache)
    whole = (store.folder / name).read_bytes()
    cut(store, name)
    assert (picture_store(folder, 4, cache).folder / name).read_bytes() == whole


def flip_byte(path: Path, position: int) -> None:
    pixels = bytearray(path.read_bytes())
    pixels[position] ^= 1
    path.write_bytes(bytes(pixels))


def test_a_damaged_picture_is_not_read(folder: Path, cache: Path) -> None:
    store = picture_store(folder, 4, cache)
    flip_byte(store.folder / "pixels.bin", 3 * 16 * 7 + 5)
    pictures = load_pictures(folder, 4, cache=cache)
    pictures.take([0, 6, 8, 39])
    with pytest.raises(DamagedStore, match=r"07.png in .*damaged on disk: delete that folder"):
        pictures.take([6, 7])


def test_pictures_are_pillows_lanczos_of_their_middle(folder: Path, cache: Path) -> None:
    store = picture_store(folder, 5, cache)
    assert len(store) == 40
    for index, name in enumerate(store.names):
        with Image.open(folder / name) as image:
            top = (image.height - 8) // 2
            expected = image.crop((0, top, 8, top + 8)).resize((5, 5), Image.Resampling.LANCZOS)
        assert np.array_equal(store.take([index])[0].transpose(1, 2, 0), np.asarray(expected))


def test_no_more_is_kept_than_training_can_use(tmp_path: Path, cache: Path, paint: Paint) -> None:
    """Photos of a megapixel, for a training that sees 8 pixels."""
    for index in range(3):
        paint(f"set/{index}.png", (index, 0, 0), size=(1000, 1000))
    notes: list[str] = []
    store = picture_store(tmp_path / "set", 8, cache, on_note=notes.append)
    assert (store.folder / "pixels.bin").stat().st_size == 3 * 3 * 8 * 8
    assert sum(path.stat().st_size for path in cache.rglob("*") if path.is_file()) < 2000
    (note,) = notes
    assert note.startswith("decoding 3 files into ")
    assert note.endswith(": 0.0 MB at most")


def test_a_cache_without_room_is_told_before_a_picture_is_decoded(
    folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(folder)._replace(free=1919)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    calls = decoded(monkeypatch)
    with pytest.raises(ValueError, match=r"take up to 0 MB in .*cache, where 0 MB are free: make room"):
        picture_store(folder, 4, cache)
    assert calls == []
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1920))
    picture_store(folder, 4, cache)


def test_a_cache_that_cannot_be_written_is_one_sentence(folder: Path, cache: Path, tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(ValueError, match=r"the disk is full .*give another --cache"):
            picture_store(folder, 16, cache)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [path.suffix for path in cache.iterdir()] == [".lock"]
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="give another --cache"):
        picture_store(folder, 4, tmp_path / "file")


def test_a_store_that_nobody_opens_goes_after_a_month(folder: Path, cache: Path) -> None:
    old, used = (picture_store(folder, side, cache).folder for side in (4, 5))
    for store in (old, used):
        os.utime(store / "index.json", (1, 1))
    picture_store(folder, 5, cache)
    (cache / "mine").mkdir()
    (cache / "mine" / "index.json").write_text("")
    os.utime(cache / "mine" / "index.json", (1, 1))
    picture_store(folder, 6, cache)
    assert not old.exists()
    assert used.exists()
    assert (cache / "mine").exists()


def test_padding_keeps_all_of_a_picture_on_the_background(tmp_path: Path, cache: Path, paint: Paint) -> None:
    paint("tall.png", "red", size=(8, 24))
    paint("wide.png", "red", size=(24, 8))
    store = picture_store(tmp_path, 24, cache, crop="pad", background="#0000ff")
    tall, wide = store.take([0, 1]).transpose(0, 2, 3, 1)
    assert np.array_equal(wide, tall.transpose(1, 0, 2))
    assert (tall[:, 8:16] == (255, 0, 0)).all()
    assert (tall[:, [*range(8), *range(16, 24)]] == (0, 0, 255)).all()


def test_transparent_pixels_take_the_background(tmp_path: Path, cache: Path, paint: Paint) -> None:
    paint("clear.png", (255, 0, 0, 0), "RGBA")
    assert (picture_store(tmp_path, 8, cache, background="teal").take([0])[0, :, 0, 0] == (0, 128, 128)).all()


def test_an_interrupted_build_leaves_no_store(
    folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(done: int, total: int) -> None:
        if done == 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        picture_store(folder, 4, cache, on_progress=interrupt)
    assert [path.suffix for path in cache.iterdir()] == [".lock"]
    seen: list[tuple[int, int]] = []
    picture_store(folder, 4, cache, on_progress=lambda done, total: seen.append((done, total)))
    assert seen == [(done, 40) for done in range(1, 41)]


KILLED = """
import os, sys
from pathlib import Path
import numpy as np
from model.store import open_or_build
pictures = ((str(index), np.zeros((3, 64, 64), np.uint8)) for index in range(40))
open_or_build(Path(sys.argv[1]), pictures, 64, 40, lambda done, total: os._exit(9) if done == 40 else None)
"""


def test_what_a_killed_build_leaves_is_cleared_by_the_next(folder: Path, cache: Path) -> None:
    place = picture_store(folder, 4, cache).folder
    shutil.rmtree(place)
    killed = subprocess.run([sys.executable, "-c", KILLED, place], env=ENVIRONMENT, timeout=60, check=False)
    assert killed.returncode == 9
    assert {path.suffix for path in cache.iterdir()} == {".lock", ".building"}
    store = picture_store(folder, 4, cache)
    assert store.take([0]).shape == (1, 3, 4, 4)
    assert {path.name for path in cache.iterdir()} == {place.name, f".{place.name}.lock"}


def test_of_two_that_build_at_once_one_decodes(
    folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other waits for the lock (held for each opened file: threads stand in for processes)."""
    calls = decoded(monkeypatch)
    started = threading.Barrier(2)

    def build(number: int) -> np.ndarray:
        started.wait()
        return picture_store(folder, 4, cache).take([5])

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(build, range(2))
    assert len(calls) == 40
    assert np.array_equal(first, second)


LIMITED = """
import resource, sys, zlib
from pathlib import Path
import numpy as np, torch
from model.data import load_pictures
source, cache = map(Path, sys.argv[1:])
torch.set_num_threads(1)  # the stacks of more would count, and come whenever they are first used
used = int(next(l for l in open("/proc/self/status") if l.startswith("VmData")).split()[1]) * 1024
resource.setrlimit(resource.RLIMIT_DATA, (used + 48 * 2**20,) * 2)
pictures = load_pictures(source, 256, cache=cache)
assert all(path.stat().st_size >= 54 * 2**20 for path in cache.rglob("*.bin"))
for first in range(0, 288, 2):
    pictures.batch(first, 2, seed=0)
try:
    np.ones(54 * 2**20, np.uint8)
    sys.exit("the limit does not hold")
except MemoryError:
    print("fits")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_DATA counts private memory on Linux alone")
def test_a_set_larger_than_memory_is_built_and_read(tmp_path: Path, cache: Path) -> None:
    """54 MiB of pixels, and 48 MiB of private memory."""
    random = np.random.default_rng(0)
    tile = Image.fromarray(random.integers(0, 256, (64, 64, 3), dtype=np.uint8))
    with zipfile.ZipFile(tmp_path / "large.zip", "w") as archive:
        for index in range(288):
            tile.putpixel((0, 0), (index % 256, 0, index // 256))
            picture = tmp_path / "p.bmp"
            tile.resize((256, 256), Image.Resampling.NEAREST).save(picture)
            archive.write(picture, f"{index:03d}.bmp", zipfile.ZIP_DEFLATED, 1)
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, tmp_path / "large.zip", cache], capture_output=True, text=True,
        env=ENVIRONMENT, timeout=120, check=False,
    )  # fmt: skip
    assert done.stdout == "fits\n", done.stderr


def test_labels_are_read_in_stylegans_form(folder: Path, cache: Path) -> None:
    listed = [[f"{index:02d}.png", index % 3] for index in range(40)]
    (folder / "dataset.json").write_text(json.dumps({"labels": listed}))
    assert load_pictures(folder, 4, cache=cache).labels == tuple(index % 3 for index in range(40))
    (folder / "dataset.json").write_text(json.dumps({"labels": listed[1:]}))
    notes: list[str] = []
    assert load_pictures(folder, 4, cache=cache, on_note=notes.append).labels is None
    assert notes == ["labels are not kept: dataset.json has none for 1 pictures, such as 00.png"]
    (folder / "dataset.json").write_text(json.dumps({"labels": None}))
    assert load_pictures(folder, 4, cache=cache).labels is None


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        "{}",
        '{"labels": 3}',
        '{"labels": [["a"]]}',
        '{"labels": [["a", "b"]]}',
        '{"labels": [["a", 1.5]]}',
    ],
)
def test_malformed_labels_are_told(folder: Path, cache: Path, text: str) -> None:
    (folder / "dataset.json").write_text(text)
    with pytest.raises(ValueError, match=r"^dataset.json has no list of labels: give .* or take it out$"):
        load_pictures(folder, 4, cache=cache)


def test_class_folders_are_labels(tmp_path: Path, cache: Path, paint: Paint) -> None:
    for name in ("set/dog/1.png", "set/cat/9.png", "set/dog/deep/2.png"):
        paint(name)
    (tmp_path / "set" / "notes.txt").write_text("of no class, and no picture")
    assert picture_store(tmp_path / "set", 4, cache).labels == (0, 1, 1)
    whole = picture_store(tmp_path, 4, tmp_path.parent / "other")  # one folder around all
    assert whole.labels == (0, 1, 1)
    (tmp_path / "set" / "dataset.json").write_text(json.dumps({"labels": [["dog/1.png", 7]]}))
    assert picture_store(tmp_path, 4, tmp_path.parent / "other").labels is None
    listed = [["dog/1.png", 7], ["cat/9.png", 5], ["dog/deep/2.png", 6]]
    (tmp_path / "set" / "dataset.json").write_text(json.dumps({"labels": listed}))
    assert picture_store(tmp_path, 4, tmp_path.parent / "other").labels == (5, 7, 6)
    (tmp_path / "set" / "dataset.json").unlink()
    paint("set/loose.png")
    assert picture_store(tmp_path / "set", 4, cache).labels is None


def test_too_few_pictures_are_told_before_training(tmp_path: Path, cache: Path, paint: Paint) -> None:
    for index in range(31):
        paint(f"set/{index}.png", (index, 0, 0))
    (tmp_path / "set" / "bad.png").write_text("hello")
    with pytest.raises(ValueError, match=r"32 pictures are the least .* holds 31 \(1 refused: bad.png: no "):
        load_pictures(tmp_path / "set", 4, cache=cache)
    paint("set/31.png")
    assert len(load_pictures(tmp_path / "set", 4, cache=cache)) == 32


def test_pictures_of_one_colour_are_told_before_training(tmp_path: Path, cache: Path, paint: Paint) -> None:
    for index in range(40):
        paint(f"set/{index}.png", "teal")
    with pytest.raises(ValueError, match="one and the same colour"):
        load_pictures(tmp_path / "set", 4, cache=cache)
    paint("set/40.png", "red")
    with pytest.raises(
        ValueError, match=r"32 different .*of the 41 in the source only 2 differ at this size"
    ):
        load_pictures(tmp_path / "set", 4, cache=cache)
    for index in range(30):
        paint(f"set/{index}.png", (index, 0, 0))
    load_pictures(tmp_path / "set", 4, cache=cache)


def test_one_pixel_that_differs_is_something_to_learn() -> None:
    images = torch.zeros(32, 3, 4, 4, dtype=torch.uint8)
    images[:, 0] = 9
    with pytest.raises(ValueError, match="nothing to learn"):
        check_trainable(Pictures(images, 4))
    for index in range(32):
        images[index, 2, 3, 3] = index
    check_trainable(Pictures(images, 4))


def test_wrong_options_are_told(folder: Path, cache: Path) -> None:
    with pytest.raises(ValueError, match="crop is 'stretch': give centre or pad"):
        picture_store(folder, 4, cache, crop="stretch")
    with pytest.raises(ValueError, match="background is 'mauvish': give a colour's name"):
        picture_store(folder, 4, cache, background="mauvish")


def test_mapped_pictures_give_the_batches_of_those_in_memory(folder: Path, cache: Path) -> None:
    mapped = load_pictures(folder, 4, 2, cache=cache)
    memory = Pictures(mapped.take(range(40)), 4)
    assert len(mapped) == len(memory) == 40
    assert mapped.oversample == memory.oversample == 2
    views = [View(1, 1, -1)]
    assert torch.equal(mapped.batch(30, 20, 1, views=views), memory.batch(30, 20, 1, views=views))
