from __future__ import annotations

import struct

import pytest

from contract.stream import Frame, Kind

ID = "0123456789abcdef" * 2


@pytest.mark.parametrize(
    "frame",
    [
        Frame(ID, Kind.DATA, b"\x00\xff" * 1000),
        Frame(ID, Kind.LAST, b"", {"queue": 0.5, "batch": 3}, 2**40),
        Frame(ID, Kind.ERROR, meta={"code": "internal"}),
    ],
)
def test_a_frame_survives_the_wire(frame: Frame) -> None:
    assert Frame.decode(frame.encode()) == frame


def with_meta(meta: bytes, length: int | None = None) -> bytes:
    return b"\0" * 25 + struct.pack(">H", len(meta) if length is None else length) + meta


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"short",
        b"\0" * 16 + b"\x09" + b"\0" * 10,
        with_meta(b"[]"),
        with_meta(b"null"),
        with_meta(b"{}", length=9),  # the rest of it is missing
        with_meta(b"[" * 60_000),  # deeper than Python's reader of JSON goes
        with_meta(b"\xff\xff"),
    ],
)
def test_what_is_no_frame_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"frame|Kind|decode"):
        Frame.decode(data)
