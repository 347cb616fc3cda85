"""Disks that take nothing more: full, over a quota, read-only. What stands in the way, in a sentence."""

from __future__ import annotations

import contextlib
import errno
import tempfile
from collections.abc import Iterator
from pathlib import Path

REASONS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the quota of the disk is used up",
    errno.EFBIG: "files may not grow so large",  # ulimit -f
    errno.EROFS: "the disk is read-only",
    errno.EACCES: "this service may not write there",
    errno.EPERM: "this service may not write there",
    errno.EIO: "the disk fails",
}
NOT_WRITTEN = "so nothing can be written to"
PROBE = bytes(64 * 1024)


class DiskError(Exception):
    """Nothing can be written to that folder."""

    def __init__(self, folder: Path, reason: str) -> None:
        self.folder, self.reason = folder.absolute(), reason
        super().__init__(f"{reason}, {NOT_WRITTEN} {self.folder}")

    def told(self, data_dir: Path) -> str:
        """The sentence for those who need not know where our folders are."""
        where = "the temporary folder"
        if self.folder.is_relative_to(data_dir.absolute()):
            where = str("VITGAN_DATA_DIR" / self.folder.relative_to(data_dir.absolute()))
        return f"{self.reason}, {NOT_WRITTEN} {where}: make room, or ask who runs the service"


@contextlib.contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Turns what says that nothing can be written there into ``DiskError``."""
    try:
        yield
    except OSError as error:
        folder, file = folder.absolute(), Path(str(error.filename or folder)).absolute()
        there = file.is_relative_to(folder) or folder.is_relative_to(file)
        if there and error.errno in REASONS:
            raise DiskError(folder, REASONS[error.errno]) from error
        raise


def check(folder: Path) -> None:
    """Raises ``DiskError`` if not even a small file can be written there; leaves nothing."""
    with writing(folder):
        probe(folder)


def probe(folder: Path) -> None:
    """Makes the folder, for this user alone, if it is not there.

    Raises ``OSError`` if no file can be written in it.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(PROBE)
