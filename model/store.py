"""Decoded pictures on disk, memory-mapped: made once, reused while source and options are the same.

A store is a folder named by the fingerprint of its source and options. ``pixels.bin`` holds every picture at
the size that training sees, ``index.json`` their names and CRCs, and what was left out. Only what a batch
needs is in memory. A store that was not opened for a month is removed when another one is built.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

FORMAT = 2  # of the files; another number is another store
KEPT_SECONDS = 30 * 24 * 3600  # that a store is kept for without being opened
Progress = Callable[[int, int], None]


class DamagedStore(ValueError):
    """Pixels on disk are not the ones that were written."""


class Store:
    """An opened store: all pictures at one size, read through a memory map."""

    def __init__(self, folder: Path) -> None:
        index = json.loads((folder / "index.json").read_text())
        self.folder = folder
        self.names: list[str] = index["names"]
        self.skipped: tuple[tuple[str, str], ...] = tuple((name, why) for name, why in index["skipped"])
        self.crcs = np.array(index["crcs"], np.uint32)
        self.labels: tuple[int, ...] | None = None  # a class a picture, if the source has one for each
        shape = (len(self.names), 3, index["side"], index["side"])
        self.pixels = _mapped(folder / "pixels.bin", shape)  # [N, 3, side, side] uint8
        os.utime(folder / "index.json")  # it is in use

    def __len__(self) -> int:
        return len(self.names)

    def take(self, indices: Sequence[int]) -> np.ndarray:
        """Those pictures, copied: [n, 3, side, side]. Raises ``DamagedStore`` if a checksum is wrong."""
        taken = self.pixels[np.asarray(indices, np.int64)]
        for picture, index in zip(taken, indices, strict=True):
            if zlib.crc32(picture.tobytes()) != self.crcs[index]:
                raise DamagedStore(
                    f"{self.names[index]} in {self.folder} is damaged on disk: "
                    "delete that folder, it is made anew"
                )
        return taken


def stored_bytes(count: int, side: int) -> int:
    """What that many pictures take on disk."""
    return count * 3 * side * side


def store_folder(cache: Path, fingerprint: list[object], options: dict[str, Any]) -> Path:
    """The folder of the store of that source and those options."""
    said = json.dumps([FORMAT, options, fingerprint], sort_keys=True)
    return cache / hashlib.sha256(said.encode()).hexdigest()[:24]


def open_or_build(
    folder: Path,
    pictures: Iterator[tuple[str, np.ndarray | str]],
    side: int,
    total: int,
    on_progress: Progress = lambda done, total: None,
    on_build: Callable[[int], None] = lambda size: None,
) -> Store:
    """The store in ``folder``; if none is there that is whole by its files' sizes, it is built first.

    ``pictures`` are ``total`` pairs of a name and a picture [3, side, side] uint8, or the reason why there is
    none; they are drawn only to build. ``on_build`` is given the bytes that it takes at most. It is built
    beside its place and renamed, so that a broken build is never taken for a store; of two processes at once
    the second waits, and opens what the first built.

    Raises ``ValueError`` if there is too little room on the disk.
    """
    with _locked(folder):
        with suppress(OSError, ValueError, KeyError, TypeError):  # not there, or damaged
            return Store(folder)
        building = folder.with_name(f".{folder.name}.building")
        shutil.rmtree(building, ignore_errors=True)  # of a process that was killed
        _remove_unused(folder.parent)
        _check_room(folder.parent, size := stored_bytes(total, side))
        on_build(size)
        building.mkdir()
        try:
            index = _write(building, pictures, total, on_progress)
            with (building / "index.json").open("w") as file:
                json.dump({"format": FORMAT, "side": side, **index}, file)
                _to_disk(file)
            shutil.rmtree(folder, ignore_errors=True)  # damaged
            building.rename(folder)
        finally:
            shutil.rmtree(building, ignore_errors=True)
        return Store(folder)


def _check_room(cache: Path, size: int) -> None:
    free = shutil.disk_usage(cache).free
    if size > free:
        raise ValueError(
            f"the decoded pictures take up to {size / 1e6:.0f} MB in {cache}, where {free / 1e6:.0f} MB are "
            "free: make room, or give another --cache"
        )


def _remove_unused(cache: Path) -> None:
    for index in cache.glob("*/index.json"):
        if re.fullmatch("[0-9a-f]{24}", index.parent.name):
            with suppress(OSError):  # removed by another process just now
                if time.time() - index.stat().st_mtime > KEPT_SECONDS:
                    shutil.rmtree(index.parent)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One process at a time; the lock falls with the process that holds it."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f".{folder.name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _write(
    folder: Path,
    pictures: Iterator[tuple[str, np.ndarray | str]],
    total: int,
    on_progress: Progress,
) -> dict[str, Any]:
    names: list[str] = []
    crcs: list[int] = []
    skipped: list[tuple[str, str]] = []
    with (folder / "pixels.bin").open("wb") as file:
        for done, (name, picture) in enumerate(pictures, 1):
            if isinstance(picture, str):
                skipped.append((name, picture))
            else:
                pixels = np.ascontiguousarray(picture).data
                names.append(name)
                crcs.append(zlib.crc32(pixels))
                file.write(pixels)
            on_progress(done, total)
        _to_disk(file)
    return {"names": names, "crcs": crcs, "skipped": skipped}


def _mapped(path: Path, shape: tuple[int, int, int, int]) -> np.ndarray:
    """The file's bytes in that shape; raises ``ValueError`` if there are not as many of them."""
    size = stored_bytes(shape[0], shape[2])
    if path.stat().st_size != size:
        raise ValueError(f"{path} has {path.stat().st_size} bytes, not {size}")
    return np.memmap(path, np.uint8, "r", shape=shape) if size else np.empty(shape, np.uint8)


def _to_disk(file: Any) -> None:
    file.flush()
    os.fsync(file.fileno())
