"""Kinds of configuration fields, and the check of their values."""

from __future__ import annotations

import math
from dataclasses import field, fields
from typing import Any


def choice(*names: str) -> Any:
    """A field that takes one of ``names``; the first is its default."""
    return field(default=names[0], metadata={"names": names})


def count(default: int, most: int) -> Any:
    """A field that takes whole numbers from 1 to ``most``: models come from files, which may say anything."""
    return field(default=default, metadata={"most": most})


def number_or(word: str, default: float) -> Any:
    """A field that takes a number of 0 or more, or that word."""
    return field(default=default, metadata={"word": word})


def check_fields(config: Any, section: str) -> None:
    """Every field has its kind, and no number is negative; whole numbers count from 1."""
    for entry in fields(config):
        value, kind = getattr(config, entry.name), entry.type
        if names := entry.metadata.get("names"):
            right, wanted = value in names, "one of " + ", ".join(names)
        elif kind == "bool":
            right, wanted = isinstance(value, bool), "true or false"
        elif kind == "str":
            right, wanted = isinstance(value, str), "a text"
        elif kind == "int":
            most = entry.metadata.get("most", math.inf)
            right = type(value) is int and 1 <= value <= most
            wanted = "a whole number of 1 or more" if most == math.inf else f"a whole number from 1 to {most}"
        else:
            right, wanted = type(value) in (int, float) and value >= 0, "a number of 0 or more"
            if word := entry.metadata.get("word"):
                right, wanted = right or value == word, f"{wanted}, or {word}"
        if not right:
            raise ValueError(f"{section}.{entry.name} is {value!r}: give {wanted}")
