"""Numbers as clients write them, by one rule: in JSON as JSON Schema has it, in URLs as ASCII digits.

JSON knows one kind of number: 100, 100.0 and 1e2 are the same whole one. Text and truth values are none.
"""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

DIGITS = r"[0-9]{1,10}"
DECIMAL = re.compile(r"[0-9]{1,20}(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?")


def as_whole(value: Any) -> Any:
    """A whole number as an integer, whatever its form in JSON; anything else as it is."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _whole(value: Any) -> int:
    number = as_whole(value)
    if isinstance(number, bool) or not isinstance(number, int):
        raise ValueError("give a whole number")
    return number


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("give a number")
    return value


def as_digits(value: Any) -> Any:
    """A whole number of a URL as it is; raises ``ValueError`` for other text."""
    if isinstance(value, str) and not re.fullmatch(DIGITS, value):
        raise ValueError("give a whole number in digits")
    return value


def _decimal(value: Any) -> Any:
    if isinstance(value, str) and not DECIMAL.fullmatch(value):
        raise ValueError("give a number such as 0.7")
    return value


Whole = Annotated[int, BeforeValidator(_whole)]
Positive = Annotated[int, Field(ge=1), BeforeValidator(_whole)]  # in this order the schema has its minimum
Number = Annotated[float, BeforeValidator(_number)]
Flag = Annotated[bool, Field(strict=True)]
DecimalText = Annotated[float, BeforeValidator(_decimal)]
