"""A small file system that a test can fill: a tmpfs where one may be mounted."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

CHUNK = bytes(4096)


class SmallDisk:
    """Some megabytes, mounted at ``path``."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._filling = path / "filling"

    def fill(self) -> None:
        """Until not a byte more is taken."""
        with contextlib.suppress(OSError), self._filling.open("ab", buffering=0) as file:
            while file.write(CHUNK):
                pass
        assert os.statvfs(self.path).f_bavail == 0

    def free(self) -> None:
        """What ``fill`` took."""
        self._filling.unlink(missing_ok=True)

    def make_read_only(self) -> None:
        subprocess.run(["mount", "-o", "remount,ro", str(self.path)], check=True)

    def make_writable(self) -> None:
        subprocess.run(["mount", "-o", "remount,rw", str(self.path)], check=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[SmallDisk]:
    """24 MiB; the test is skipped for users who may not mount."""
    path = tmp_path / "small"
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(path)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a file system of its own can be mounted by root alone")
    try:
        yield SmallDisk(path)
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)
