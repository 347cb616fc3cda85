"""Strips of rows to the bytes of a PNG, as they are painted (PNG, third edition, W3C 2025).

Each strip is compressed by itself: its first row is filtered without the row above, its deflate blocks end
at a byte with nothing carried over (a full flush). So another worker can go on at any of them; all it needs
to know of those before is their checksum.
"""

from __future__ import annotations

import struct
import zlib
from typing import NamedTuple

import numpy as np

SIGNATURE = b"\x89PNG\r\n\x1a\n"
FILTER_NONE, FILTER_UP = 0, 2  # up: each byte minus the one above; cheap, and flat areas become zeros
LEVEL = 1  # zlib's fastest; ISA-L is faster, but gives now and then other bytes of the same pixels
ZLIB_HEADER = b"\x78\x01"
EMPTY_LAST_BLOCK = b"\x03\x00"  # deflate's last block, with nothing in it


class Piece(NamedTuple):
    """The bytes of one strip, or of the end."""

    strip: int
    adler: int  # checksum of all strips before it
    data: bytes


class PngEncoder:
    """One RGB image of 8 bits, fed from top to bottom, from any strip on.

    ``text`` becomes tEXt chunks. The bytes depend on the pixels, the text and the strips' heights.
    """

    def __init__(self, width: int, height: int, text: dict[str, str], strip: int = 0, adler: int = 1) -> None:
        self.strip_number, self.adler = strip, adler
        self._head = head(width, height, text)

    def strip(self, rows: np.ndarray) -> Piece:
        """The next rows [rows, width, 3] uint8 to bytes; the first strip brings the head."""
        filtered = filter_up(rows)
        deflate = zlib.compressobj(LEVEL, wbits=-15)
        data = deflate.compress(filtered.data) + deflate.flush(zlib.Z_FULL_FLUSH)
        number, before = self.strip_number, self.adler
        self.strip_number += 1
        self.adler = zlib.adler32(filtered.data, before)
        start = self._head if number == 0 else b""
        return Piece(number, before, start + chunk(b"IDAT", (b"" if number else ZLIB_HEADER) + data))

    def end(self) -> Piece:
        """What closes the image."""
        last = chunk(b"IDAT", EMPTY_LAST_BLOCK + struct.pack(">I", self.adler)) + chunk(b"IEND", b"")
        return Piece(self.strip_number, self.adler, last)


def head(width: int, height: int, text: dict[str, str]) -> bytes:
    """What a PNG of 8-bit RGB begins with."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    told = (
        chunk(b"tEXt", key.encode("latin-1") + b"\0" + value.encode("latin-1")) for key, value in text.items()
    )
    return SIGNATURE + chunk(b"IHDR", header) + b"".join(told)


def filter_up(rows: np.ndarray) -> np.ndarray:
    """Rows [rows, width, 3] uint8 as they are compressed, the first one without the row above."""
    flat = rows.reshape(len(rows), -1)
    filtered = np.empty((len(flat), flat.shape[1] + 1), np.uint8)
    filtered[0, 0], filtered[1:, 0] = FILTER_NONE, FILTER_UP
    filtered[0, 1:] = flat[0]
    np.subtract(flat[1:], flat[:-1], out=filtered[1:, 1:])
    return filtered


def chunk(kind: bytes, body: bytes) -> bytes:
    """Length, kind, body, checksum."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
