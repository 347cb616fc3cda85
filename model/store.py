"""Decoded pictures on disk, memory-mapped: made once, reused while source and options are the same.

A store is a folder named by the fingerprint of its source and options. ``pixels.bin`` holds every picture as
a square at its full size, ``index.json`` where each lies, its CRC and label, and what was refused. For a
training, ``side-128.bin`` is made from it: all pictures at one size, and behind them their CRCs. Only what a
batch needs is in memory.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

FORMAT = 1  # of the files; another number is another store
Progress = Callable[[int, int], None]


class DamagedStore(ValueError):
    """Pixels on disk are not the ones that were written."""


@dataclass(frozen=True)
class Entry:
    """One picture of a store."""

    name: str
    side: int
    offset: int  # of its first byte in pixels.bin
    crc: int
    label: int | None


@dataclass(frozen=True)
class SizedPictures:
    """All pictures at one size, [N, 3, side, side] uint8, read through a memory map."""

    pixels: np.ndarray
    crcs: np.ndarray  # [N] uint32
    folder: Path

    def take(self, indices: Sequence[int]) -> np.ndarray:
        """Those pictures, copied: [n, 3, side, side]. Raises ``DamagedStore`` if a checksum is wrong."""
        taken = self.pixels[np.asarray(indices, np.int64)]
        for picture, index in zip(taken, indices, strict=True):
            if zlib.crc32(picture.tobytes()) != self.crcs[index]:
                raise _damaged(self.folder, f"picture {index}")
        return taken


class Store:
    """An opened store."""

    def __init__(self, folder: Path) -> None:
        index = json.loads((folder / "index.json").read_text())
        self.folder = folder
        self.entries = [Entry(**entry) for entry in index["entries"]]
        self.skipped: tuple[tuple[str, str], ...] = tuple((name, why) for name, why in index["skipped"])
        self._pixels = _mapped(folder / "pixels.bin", sum(3 * entry.side**2 for entry in self.entries))

    def __len__(self) -> int:
        return len(self.entries)

    @property
    def labels(self) -> tuple[int, ...] | None:
        """A class a picture, if the source has one for each."""
        found = tuple(entry.label for entry in self.entries if entry.label is not None)
        return found if found and len(found) == len(self) else None

    def picture(self, index: int) -> np.ndarray:
        """A picture at its full size: [side, side, 3] uint8. Raises ``DamagedStore``."""
        entry = self.entries[index]
        flat = self._pixels[entry.offset : entry.offset + 3 * entry.side**2]
        if zlib.crc32(flat.data) != entry.crc:
            raise _damaged(self.folder, entry.name)
        return flat.reshape(entry.side, entry.side, 3)

    def sized(self, side: int, on_progress: Progress = lambda done, total: None) -> SizedPictures:
        """All pictures at ``side`` x ``side`` pixels (Lanczos), made once and kept beside the store."""
        path = self.folder / f"side-{side}.bin"
        with _locked(self.folder):
            try:
                return self._open_sized(path, side)
            except (OSError, ValueError):  # not there, or cut short
                self._resize(path, side, on_progress)
        return self._open_sized(path, side)

    def _open_sized(self, path: Path, side: int) -> SizedPictures:
        size = 3 * side * side * len(self)
        data = _mapped(path, size + 4 * len(self))
        crcs = np.frombuffer(data[size:].tobytes(), "<u4")
        return SizedPictures(data[:size].reshape(len(self), 3, side, side), crcs, self.folder)

    def _resize(self, path: Path, side: int, on_progress: Progress) -> None:
        building = path.with_suffix(".building")
        crcs = np.empty(len(self), "<u4")
        with building.open("wb") as file:
            for index in range(len(self)):
                image = Image.fromarray(self.picture(index))
                if image.width != side:
                    image = image.resize((side, side), Image.Resampling.LANCZOS)
                data = np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1)).data
                crcs[index] = zlib.crc32(data)
                file.write(data)
                on_progress(index + 1, len(self))
            file.write(crcs.data)
            _to_disk(file)
        building.replace(path)


def store_folder(cache: Path, fingerprint: list[object], options: dict[str, Any]) -> Path:
    """The folder of the store of that source and those options."""
    said = json.dumps([FORMAT, options, fingerprint], sort_keys=True)
    return cache / hashlib.sha256(said.encode()).hexdigest()[:24]


def open_or_build(
    folder: Path,
    pictures: Iterator[tuple[str, np.ndarray | str]],
    labels: dict[str, int] | None,
    total: int,
    on_progress: Progress = lambda done, total: None,
) -> Store:
    """The store in ``folder``; if none is there that is whole by its files' sizes, it is built first.

    ``pictures`` are ``total`` pairs of a name and a square [s, s, 3] uint8, or the reason why there is none;
    they are drawn only to build. It is built beside its place and renamed, so that a broken build is never
    taken for a store; of two processes at once the second waits, and opens what the first built.
    """
    with _locked(folder):
        with suppress(OSError, ValueError, KeyError, TypeError):  # not there, or damaged
            return Store(folder)
        building = folder.with_suffix(".building")
        shutil.rmtree(building, ignore_errors=True)  # of a process that was killed
        building.mkdir()
        try:
            index = _write(building, pictures, labels or {}, total, on_progress)
            with (building / "index.json").open("w") as file:
                json.dump(index, file)
                _to_disk(file)
            shutil.rmtree(folder, ignore_errors=True)  # damaged
            building.rename(folder)
        finally:
            shutil.rmtree(building, ignore_errors=True)
        return Store(folder)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One process at a time; the lock falls with the process that holds it."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _write(
    folder: Path,
    pictures: Iterator[tuple[str, np.ndarray | str]],
    labels: dict[str, int],
    total: int,
    on_progress: Progress,
) -> dict[str, Any]:
    entries: list[dict[str, Any]] = []
    skipped: list[tuple[str, str]] = []
    with (folder / "pixels.bin").open("wb") as file:
        for done, (name, picture) in enumerate(pictures, 1):
            if isinstance(picture, str):
                skipped.append((name, picture))
            else:
                pixels = np.ascontiguousarray(picture).data
                crc = zlib.crc32(pixels)
                entries.append(asdict(Entry(name, len(picture), file.tell(), crc, labels.get(name))))
                file.write(pixels)
            on_progress(done, total)
        _to_disk(file)
    return {"format": FORMAT, "entries": entries, "skipped": skipped}


def _mapped(path: Path, size: int) -> np.ndarray:
    """The file's bytes; raises ``ValueError`` if there are not ``size`` of them."""
    if path.stat().st_size != size:
        raise ValueError(f"{path} has {path.stat().st_size} bytes, not {size}")
    return np.memmap(path, np.uint8, "r") if size else np.empty(0, np.uint8)


def _to_disk(file: Any) -> None:
    file.flush()
    os.fsync(file.fileno())


def _damaged(folder: Path, what: str) -> DamagedStore:
    return DamagedStore(f"{what} in {folder} is damaged on disk: delete that folder, it is made anew")
