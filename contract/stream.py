"""Bytes from a worker back to the API process that waits, as raw frames on a Redis list.

A frame is ``id (16) | kind (1) | start (8) | length of meta (2) | meta, JSON | bytes``. ``start`` tells how
many bytes were sent under that id before these: a frame that Redis lost, or that came twice, is noticed. An
image's first frame says in its meta who draws it and how the time went; each DATA frame says where its bytes
end (``at``: strip, offset, checksum), so that another worker can go on there. A worker may send ``WINDOW``
DATA frames ahead; each further one waits for a credit, which the API gives when the client has taken a chunk.
So memory stays flat however large the image.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

CHUNK = 240 * 1024  # bytes of a frame's payload; just below a jump in the allocator's size classes
WINDOW = 8  # DATA frames that may be under way
CREDIT = b"1"
GONE = b"0"  # instead of a credit: the client has left, stop
GAP = "gap"  # code of an ERROR frame: bytes before it may be lost, another worker is to be asked for them
FLUSH_SECONDS = 0.2  # what is painted waits no longer than this for a chunk to fill
LOOK_SECONDS = 0.25  # how often a worker looks whether its client has left
STALL_SECONDS = 30  # a worker gives up on a client that takes nothing for so long
REPLY_TTL = 120  # seconds until frames that nobody collects vanish

_HEADER = struct.Struct(">16sBQH")


class Kind(IntEnum):
    """What a frame brings."""

    DATA = 0  # bytes, more to come
    LAST = 1  # bytes, the image is complete
    ERROR = 2  # no image: meta says why
    TAKEN = 3  # of an order, not an image: the worker that meta names begins with it


@dataclass(frozen=True)
class Frame:
    """One frame."""

    id: str  # 32 hex digits
    kind: Kind
    payload: bytes = b""
    meta: dict[str, Any] = field(default_factory=dict)
    start: int = 0  # bytes sent under this id before these

    def encode(self) -> bytes:
        """To bytes on the wire."""
        meta = json.dumps(self.meta).encode() if self.meta else b""
        return _HEADER.pack(bytes.fromhex(self.id), self.kind, self.start, len(meta)) + meta + self.payload

    @classmethod
    def decode(cls, data: bytes) -> Frame:
        """From bytes on the wire; raises ``ValueError`` if they are no frame."""
        try:
            id_, kind, before, length = _HEADER.unpack_from(data)
            start = _HEADER.size + length
            meta = json.loads(data[_HEADER.size : start]) if length else {}
        except (struct.error, RecursionError) as error:
            raise ValueError(f"not a frame: {error}") from error
        if len(data) < start or not isinstance(meta, dict):
            raise ValueError("not a frame: its meta is cut off or no object")
        return cls(id_.hex(), Kind(kind), data[start:], meta, before)
