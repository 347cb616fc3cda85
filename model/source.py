"""Where training pictures come from: the files of a folder or zip, their labels, and their fingerprint."""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Iterator
from operator import index
from pathlib import Path, PurePosixPath
from types import TracebackType

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")
MAX_BYTES = 64 * 2**20  # of one picture's file
LABELS = "dataset.json"  # StyleGAN's name for it


class Source:
    """A folder or zip, open for reading; use it in a ``with``.

    Raises ``ValueError`` if the path is neither.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._zip: zipfile.ZipFile | None = None
        if path.is_dir():
            files = [file for file in path.rglob("*") if file.is_file()]
            self._members = {file.relative_to(path).as_posix(): self._stamp(file) for file in files}
            return
        try:
            self._zip = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, OSError) as error:
            raise ValueError(f"{path} is neither a folder nor a zip that can be read: {error}") from None
        self._members = {i.filename: [i.file_size, i.CRC] for i in self._zip.infolist() if not i.is_dir()}

    @property
    def names(self) -> list[str]:
        """The picture files, sorted."""
        return sorted(name for name in self._members if name.lower().endswith(SUFFIXES))

    def fingerprint(self) -> list[object]:
        """What changes when a picture or label does: names with sizes and CRCs (zip) or times (folder)."""
        return [[name, *self._members[name]] for name in [*self.names, LABELS] if name in self._members]

    def read(self, name: str) -> bytes:
        """A file's bytes, at most one over the limit; none if it is damaged, encrypted or packed unknown."""
        if self._zip is None:
            with (self.path / name).open("rb") as file:
                return file.read(MAX_BYTES + 1)
        try:
            with self._zip.open(name) as member:
                return member.read(MAX_BYTES + 1)
        except (zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError, EOFError):
            return b""

    def labels(self) -> dict[str, int] | None:
        """A class a picture, from ``dataset.json`` as StyleGAN writes it, or from class folders, or None.

        Raises ``ValueError`` if ``dataset.json`` is there but no such list.
        """
        if LABELS in self._members:
            return self._listed_labels()
        tops = {name: PurePosixPath(name).parts[0] for name in self.names if "/" in name}
        if len(tops) < len(self.names):
            return None
        classes = {top: number for number, top in enumerate(sorted(set(tops.values())))}
        return {name: classes[top] for name, top in tops.items()}

    def _listed_labels(self) -> dict[str, int] | None:
        try:
            listed = json.loads(self.read(LABELS))["labels"]
            return None if listed is None else {str(name): index(label) for name, label in listed}
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(
                f'{LABELS} of {self.path} has no list of labels: give {{"labels": [["a.png", 3], ...]}} '
                f"or take it out ({error!r})"
            ) from None

    @staticmethod
    def _stamp(file: Path) -> list[int]:
        status = file.stat()
        return [status.st_size, status.st_mtime_ns]

    def __enter__(self) -> Source:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._zip is not None:
            self._zip.close()

    def __iter__(self) -> Iterator[tuple[str, bytes]]:
        """Names and contents of the picture files, one at a time."""
        for name in self.names:
            yield name, self.read(name)
