"""Files with a few bytes changed, where it hurts and where it does not."""

from __future__ import annotations

from hypothesis import strategies as st

HURTING = (
    b"",
    b"\0",
    b"\xff",
    b"\0\0\0\0",
    b"\xff\xff\xff\xff",
    b"\xff\xff\xff\x7f",
    b"PK\x01\x02",
    b"[" * 5000,
)


@st.composite
def mutated(draw: st.DrawFn, whole: bytes, first: int = 0) -> bytes:
    """``whole`` with one to four edits from ``first`` on: bytes replaced, put in, taken out; or cut off."""
    data = bytearray(whole)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(first, max(first, len(data) - 1)))
        length = draw(st.sampled_from((0, 1, 1, 1, 2, 4, 8, 64)))
        data[at : at + length] = draw(
            st.binary(min_size=length, max_size=length)
            | st.sampled_from(HURTING)
            | st.just(bytes(data[at : at + length]) * 2)
        )
    cut = draw(st.none() | st.none() | st.none() | st.integers(first, len(data)))
    return bytes(data[:cut])
