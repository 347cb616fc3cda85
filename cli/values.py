"""Values as people write them on a command line."""

from __future__ import annotations

import re


def parse_resolution(text: str) -> tuple[int, int]:
    """``512`` or ``333x200`` to (width, height); raises ``ValueError`` with a sentence."""
    match = re.fullmatch(r"([0-9]{1,5})(?:x([0-9]{1,5}))?", text)
    sides = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    if not all(1 <= side <= 65_536 for side in sides):
        raise ValueError(f"resolution {text!r}: give 512 or 333x200, sides from 1 to 65536")
    return sides


def clock(seconds: float) -> str:
    """Seconds as ``h:mm:ss``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}"


def parse_region(text: str | None, width: int, height: int) -> tuple[int, int, int, int]:
    """``x,y,width,height`` in pixels of the whole; all of it if there is none."""
    if text is None:
        return 0, 0, width, height
    try:
        x, y, w, h = (int(part) for part in text.split(","))
    except ValueError:
        raise ValueError(f"region {text!r} is no rectangle: give x,y,width,height in pixels") from None
    if min(x, y) < 0 or min(w, h) < 1 or x + w > width or y + h > height:
        raise ValueError(f"region {text} does not lie inside the {width}x{height} image")
    return x, y, w, h
