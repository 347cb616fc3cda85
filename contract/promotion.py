"""Which model ``default`` names: the one that was promoted last.

A small file in the shared folder, replaced whole. So all processes read the same from the next request on, a
backup of the folder has it, and it outlives restarts and Redis.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from contract.files import read_regular

MAX_BYTES = 4096  # of the file


class Promotion:
    """The file's one line; while there is none, ``otherwise``."""

    def __init__(self, path: Path, otherwise: str) -> None:
        self.path, self.otherwise = path, otherwise

    @property
    def name(self) -> str:
        """The name that ``default`` stands for now, whether there is such a model or not.

        Raises ``OSError`` if the file is there and cannot be read.
        """
        try:
            return read_regular(self.path, MAX_BYTES).decode("ascii", errors="replace").strip()
        except FileNotFoundError:
            return self.otherwise

    def promote(self, name: str) -> None:
        """From now on ``default`` names that model; of two at a time the later one counts."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=self.path.parent, prefix=f".{self.path.name}-")
        try:
            with os.fdopen(handle, "w") as file:
                file.write(f"{name}\n")
                file.flush()
                os.fsync(file.fileno())
                os.fchmod(file.fileno(), 0o644)  # for processes of other users
            Path(temporary).replace(self.path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
