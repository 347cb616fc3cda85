from __future__ import annotations

import pytest

from cli.values import clock, parse_region, parse_resolution
from contract.seeds import count_seeds, parse_seeds


def test_seeds_are_numbers_and_ranges_with_their_ends() -> None:
    assert parse_seeds("0-3,20, 7-7") == [0, 1, 2, 3, 20, 7]
    assert parse_seeds("4294967295") == [2**32 - 1]
    assert count_seeds("0-3,20, 7-7") == 6
    assert count_seeds("0-4294967295") == 2**32


@pytest.mark.parametrize("text", ["", "a", "1-", "3-1", "-1", "1,,2", "4294967296", "1.5"])
def test_other_seeds_are_told(text: str) -> None:
    with pytest.raises(ValueError, match="seeds"):
        parse_seeds(text)


def test_a_resolution_is_a_side_or_width_x_height() -> None:
    assert parse_resolution("512") == (512, 512)
    assert parse_resolution("333x200") == (333, 200)


@pytest.mark.parametrize("text", ["", "0", "65537", "1x0", "512x", "x5", "1x2x3", "-5", "5.5"])
def test_other_resolutions_are_told(text: str) -> None:
    with pytest.raises(ValueError, match="resolution"):
        parse_resolution(text)


def test_times_are_hours_minutes_seconds() -> None:
    assert clock(3_725.4) == "1:02:05"


def test_a_region_lies_inside_or_is_refused() -> None:
    assert parse_region(None, 30, 20) == (0, 0, 30, 20)
    assert parse_region("1,2,29,18", 30, 20) == (1, 2, 29, 18)
    for text in ("1,2,30,18", "0,0,0,5", "-1,0,5,5"):
        with pytest.raises(ValueError, match="does not lie inside the 30x20 image"):
            parse_region(text, 30, 20)
    for text in ("1,2,3", "a,b,c,d", ""):
        with pytest.raises(ValueError, match="give x,y,width,height"):
            parse_region(text, 30, 20)
