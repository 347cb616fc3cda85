"""Where training pictures come from: the files of a folder or zip, their labels, and their fingerprint."""

from __future__ import annotations

import os
import stat
import zipfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from contract.pictures import (
    MAX_BYTES,
    METHODS,
    class_folders,
    label_files,
    left_out,
    parse_labels,
)


class Source:
    """A folder or zip, open for reading; use it in a ``with``.

    Raises ``ValueError`` if the path is neither.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.left_out: dict[str, str] = {}  # names with reasons
        self._zip: zipfile.ZipFile | None = None
        if path.is_dir():
            members = self._files()
        else:
            try:
                self._zip = zipfile.ZipFile(path)
            except Exception as error:  # BadZipFile, and others for fields that zipfile cannot read
                raise ValueError(f"{path} is neither a folder nor a zip that can be read: {error}") from None
            infos = self._zip.infolist()
            members = {info.filename: [info.file_size, info.CRC] for info in infos if not info.is_dir()}
        self.left_out |= left_out(members)
        self._stamps = {name: members[name] for name in sorted(members) if name not in self.left_out}
        self._labels = label_files(self._stamps)
        self.names = [name for name in self._stamps if name not in self._labels]  # what may be a picture

    def fingerprint(self) -> list[object]:
        """What changes when a picture does: names with sizes and CRCs (zip) or times (folder)."""
        return [[name, *self._stamps[name]] for name in self.names]

    def read(self, name: str) -> bytes:
        """A file's bytes; raises ``ValueError`` with the reason if it cannot be read, whatever that is."""
        try:
            if self._zip is None:
                with (self.path / name).open("rb") as file:
                    data = file.read(MAX_BYTES + 1)
            else:
                if (member := self._zip.getinfo(name)).compress_type not in METHODS:
                    raise ValueError("packed in an unusual way, use deflate")
                with self._zip.open(member) as packed:
                    data = packed.read(MAX_BYTES + 1)
        except ValueError:
            raise
        except OSError as error:
            raise ValueError(f"cannot be read: {error.strerror or error}") from None
        except Exception as error:  # zipfile and zlib have each their own
            raise ValueError(f"damaged in the zip: {error}") from None
        if len(data) > MAX_BYTES:
            raise ValueError(f"the file is over {MAX_BYTES >> 20} MiB")
        return data

    def listed_labels(self) -> dict[str, int] | None:
        """Classes from ``dataset.json``, or None if there is no such file.

        Raises ``ValueError`` if the file is there and cannot be understood.
        """
        if not self._labels:
            return None
        listed: dict[str, int] = {}
        for name in self._labels:
            listed |= parse_labels(self.read(name), name)
        return listed

    def _files(self) -> dict[str, list[int]]:
        """All files below the folder, with size and time; those that cannot be read are left out."""
        found: dict[str, list[int]] = {}
        for folder, _, files in os.walk(self.path, onerror=self._unlisted):
            for file in files:
                path = Path(folder, file)
                name = path.relative_to(self.path).as_posix()
                try:
                    status = path.stat()
                except OSError as error:  # a link that leads nowhere, for one
                    self.left_out[name] = f"cannot be read: {error.strerror}"
                    continue
                if stat.S_ISREG(status.st_mode):
                    found[name] = [status.st_size, status.st_mtime_ns]
        return found

    def _unlisted(self, error: OSError) -> None:
        self.left_out[str(error.filename)] = f"cannot be read: {error.strerror}"

    def __enter__(self) -> Source:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._zip is not None:
            self._zip.close()


def labels_of(names: Sequence[str], listed: dict[str, int] | None) -> tuple[int, ...] | None:
    """A class a picture: as listed, or without a list by class folders; None if some picture has none."""
    if listed is None:
        found = class_folders(list(names)) or []
    else:
        found = [listed[name] for name in names if name in listed]
    return tuple(found) if found and len(found) == len(names) else None
