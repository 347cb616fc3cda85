from __future__ import annotations

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


@pytest.mark.parametrize("data", [b"", b"short", b"\0" * 16 + b"\x09" + b"\0" * 10])
def test_what_is_no_frame_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"frame|Kind"):
        Frame.decode(data)
