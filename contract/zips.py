"""Several images as one zip, written as they come: stored, ZIP64, the same bytes always."""

from __future__ import annotations

import zipfile
from typing import IO

from contract.messages import SUFFIXES


class Sink:
    """What zipfile writes to: a stream that cannot seek, emptied as it fills."""

    def __init__(self) -> None:
        self._written = bytearray()

    def write(self, data: bytes) -> int:
        """Keeps the bytes."""
        self._written += data
        return len(data)

    def flush(self) -> None:
        """Nothing waits."""

    def take(self) -> bytes:
        """What was written since."""
        taken = bytes(self._written)
        self._written.clear()
        return taken


class Archive:
    """A zip on its way; ``take`` gives what of it is there."""

    def __init__(self) -> None:
        self._sink = Sink()
        self._zip = zipfile.ZipFile(self._sink, "w")  # type: ignore[call-overload]
        self.take = self._sink.take

    def open(self, seed: int, image_format: str) -> IO[bytes]:
        """To write ``seed0042.png`` into, of a fixed date: a ZipInfo's own is 1980-01-01."""
        entry = zipfile.ZipInfo(f"seed{seed:04d}.{SUFFIXES[image_format]}")
        file: IO[bytes] = self._zip.open(entry, "w", force_zip64=True)
        return file

    def close(self) -> None:
        """Writes the list of what is in it."""
        self._zip.close()
