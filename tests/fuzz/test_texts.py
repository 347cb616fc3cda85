"""Texts and frames that clients and workers might send: read, or refused with a sentence."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.errors import BadRequest
from app.iiif import Limits, read
from contract.seeds import MAX_SEED, count_seeds, parse_seeds
from contract.stream import Frame, Kind
from tests.fuzz.conftest import tried
from tests.fuzz.mutation import mutated

pytestmark = pytest.mark.fuzz
FUZZ = settings.get_profile("fuzz")

ODD = st.sampled_from(("", "-1", ".", "00", "1e3", "٣", "½", "9" * 9, "9" * 5000)) | st.text(max_size=3)
NUMBER = st.integers(0, 70_000).map(str) | st.integers(1, 100).map(str)
WORD = st.one_of(NUMBER, NUMBER, NUMBER, st.decimals(0, 200, places=3).map(str), ODD)
FOUR = st.lists(WORD, min_size=4, max_size=4).map(",".join)
PART = FOUR | st.lists(WORD, max_size=5).map(",".join)
FAIR = st.lists(st.integers(0, 100).map(str), min_size=4, max_size=4).map(",".join)
REGION = (
    st.sampled_from(("full", "square")) | FAIR | FAIR.map("pct:{}".format) | PART | PART.map("pct:{}".format)
)
SIDES = st.builds("{},{}".format, NUMBER, NUMBER | st.just("")) | st.builds("{},{}".format, WORD, WORD) | WORD
SIZE = st.builds(
    "{}{}".format, st.sampled_from(("", "^", "^", "^!", "pct:", "^pct:")), st.just("max") | SIDES
)
ROTATION = st.sampled_from(("0", "!0", "90", "180.0", "!270", "360")) | ODD
FILE = st.builds(
    "{}.{}".format,
    st.sampled_from(("default", "color", "gray", "bitonal")),
    st.sampled_from(("png", "jpg", "webp", "gif")),
)
FILE = st.one_of(FILE, FILE, FILE, ODD)


@settings(FUZZ, max_examples=2500)
@given(REGION, SIZE, ROTATION, FILE, st.sampled_from((32, 333, 65_536)), st.sampled_from((1, 1000, 2**24)))
def test_iiif_urls(region: str, size: str, rotation: str, file: str, full: int, area: int) -> None:
    limits = Limits(area)
    with tried("IIIF URL", BadRequest):
        asked = read(region, size, rotation, file, full, limits)
        assert 1 <= asked.width <= limits.edge
        assert 1 <= asked.height <= limits.edge
        assert asked.width * asked.height <= area
        for side in asked.sides(full):
            assert 0 <= side.start < side.start + side.length <= full
        assert read(*asked.canonical.split("/"), full, limits) == asked


@settings(FUZZ, max_examples=1500)
@given(
    st.lists(st.builds("{}-{}".format, NUMBER, NUMBER) | WORD, min_size=1, max_size=4).map(",".join)
    | st.text()
)
def test_seeds(text: str) -> None:
    with tried("seeds", ValueError):
        if (count := count_seeds(text)) <= 100_000:
            seeds = parse_seeds(text)
            assert len(seeds) == count
            assert all(0 <= seed <= MAX_SEED for seed in seeds)


FRAMES = [
    Frame("0123456789abcdef" * 2, Kind.DATA, b"\0\xff" * 20, {"at": [1, 2, 3], "queue": 0.5}).encode(),
    Frame("0123456789abcdef" * 2, Kind.ERROR, meta={"code": "internal"}).encode(),
]
HEADS = st.builds(
    lambda kind, meta, payload: bytes(16) + bytes([kind]) + len(meta).to_bytes(2) + meta + payload,
    st.integers(0, 3),
    st.one_of(
        st.recursive(st.none() | st.integers() | st.text(), st.lists).map(lambda it: json.dumps(it).encode()),
        st.integers(1, 60_000).map(lambda depth: b"[" * depth),
        st.binary(),
    ),
    st.binary(),
)


@settings(FUZZ, max_examples=1500)
@given(st.binary() | st.sampled_from(FRAMES).flatmap(mutated) | HEADS)
def test_frames(data: bytes) -> None:
    with tried("frame", ValueError):
        frame = Frame.decode(data)
        assert isinstance(frame.meta, dict)
        assert len(frame.payload) <= len(data)
