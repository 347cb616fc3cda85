"""Seeds as people write them: ``0-15,20``."""

from __future__ import annotations

import re
from collections.abc import Sequence

MAX_SEED = 2**32 - 1  # StyleGAN's: what RandomState takes


def is_seed(text: str) -> bool:
    """Whether it is one seed; longer digits are never read as a number."""
    return bool(re.fullmatch(r"[0-9]{1,10}", text)) and int(text) <= MAX_SEED


def parse_seeds(text: str) -> list[int]:
    """Numbers and ranges, ends included; raises ``ValueError`` with a sentence."""
    return [seed for first, last in _ranges(text) for seed in range(first, last + 1)]


def write_seeds(seeds: Sequence[int]) -> str:
    """The text that ``parse_seeds`` reads as those seeds, in their order."""
    parts: list[tuple[int, int]] = []
    for seed in seeds:
        if parts and seed == parts[-1][1] + 1:
            parts[-1] = parts[-1][0], seed
        else:
            parts.append((seed, seed))
    return ",".join(f"{first}" if first == last else f"{first}-{last}" for first, last in parts)


def count_seeds(text: str) -> int:
    """How many they are, without making the list."""
    return sum(last - first + 1 for first, last in _ranges(text))


def written(seeds: Sequence[int]) -> str:
    """The same seeds in the same order, as short as they can be: ``0-15,20``."""
    parts: list[list[int]] = []
    for seed in seeds:
        if parts and seed == parts[-1][1] + 1:
            parts[-1][1] = seed
        else:
            parts.append([seed, seed])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in parts)


def _ranges(text: str) -> list[tuple[int, int]]:
    found = []
    for part in text.split(","):
        match = re.fullmatch(r"([0-9]{1,10})(?:-([0-9]{1,10}))?", part.strip())
        if not match:
            raise ValueError(f"seeds {part.strip()[:40]!r}: give numbers and ranges such as 0-15,20")
        first = int(match[1])
        last = int(match[2] or first)
        if not first <= last <= MAX_SEED:
            raise ValueError(f"seeds {part!r}: give a rising range from 0 to {MAX_SEED}")
        found.append((first, last))
    return found
