"""Strips of rows to the bytes of a PNG, as they are painted (PNG, third edition, W3C 2025)."""

from __future__ import annotations

import struct
import zlib

import numpy as np
from isal import isal_zlib

SIGNATURE = b"\x89PNG\r\n\x1a\n"
FILTER_UP = 2  # each byte minus the one above it: cheap to compute, and flat areas become zeros
LEVEL = 1  # isal's levels 0..3


class PngEncoder:
    """One RGB image of 8 bits, fed from top to bottom.

    ``text`` becomes tEXt chunks. The bytes depend on the pixels, the text and the strips' heights.
    """

    def __init__(self, width: int, height: int, text: dict[str, str]) -> None:
        self._deflate = isal_zlib.compressobj(LEVEL)
        self._above = np.zeros((1, width * 3), np.uint8)
        header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
        self._head = SIGNATURE + _chunk(b"IHDR", header)
        for key, value in text.items():
            self._head += _chunk(b"tEXt", key.encode("latin-1") + b"\0" + value.encode("latin-1"))

    def strip(self, rows: np.ndarray) -> bytes:
        """The next rows [rows, width, 3] uint8 to bytes; perhaps none yet."""
        flat = rows.reshape(len(rows), -1)
        filtered = np.empty((len(flat), flat.shape[1] + 1), np.uint8)
        filtered[:, 0] = FILTER_UP
        np.subtract(flat[:1], self._above, out=filtered[:1, 1:])
        np.subtract(flat[1:], flat[:-1], out=filtered[1:, 1:])
        self._above = flat[-1:].copy()
        return self._take_head() + _data(self._deflate.compress(filtered))

    def end(self) -> bytes:
        """What is left, and the end mark."""
        return self._take_head() + _data(self._deflate.flush()) + _chunk(b"IEND", b"")

    def _take_head(self) -> bytes:
        head, self._head = self._head, b""
        return head


def image_encoder(digest: str, seed: int, width: int, height: int, truncation: float) -> PngEncoder:
    """An encoder whose PNG says of its making what is needed to draw it again."""
    text = {
        "Software": "ViTGAN",
        "Seed": str(seed),
        "Model": digest,
        "Resolution": f"{width}x{height}",
        "Truncation": repr(float(truncation)),
    }
    return PngEncoder(width, height, text)


def _data(compressed: bytes) -> bytes:
    return _chunk(b"IDAT", compressed) if compressed else b""


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
