"""Settings as people meet them: their variables, what may be given, and a sentence about what is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

import annotated_types
from pydantic import AliasChoices, SecretStr, ValidationError
from pydantic.fields import FieldInfo

from contract.logs import without_passwords
from contract.settings import PREFIX, SharedSettings

Settings = TypeVar("Settings", bound=SharedSettings)

KINDS = {
    int: "a whole number", float: "a number", bool: "true or false", str: "text", Path: "a path",
    SecretStr: "text",
}  # fmt: skip


def read_settings(kind: type[Settings]) -> Settings:
    """From the environment; raises ``ValueError``: each wrong variable, its value, and what may be given."""
    try:
        return kind()
    except ValidationError as error:
        wrong = [_sentence(kind, dict(one)) for one in error.errors(include_url=False)]
        raise ValueError("; ".join(wrong)) from None


def variables(name: str, field: FieldInfo) -> list[str]:
    """The environment variables of a setting, the first of which counts."""
    if isinstance(field.validation_alias, AliasChoices):
        return [str(choice) for choice in field.validation_alias.choices if str(choice).isupper()]
    return [PREFIX + name.upper()]


def allowed(field: FieldInfo) -> str:
    """What may be given, in words: "a whole number from 1 to 65536"."""
    kinds = _kinds(field.annotation)
    if get_origin(kinds[0]) is Literal:
        return " or ".join(map(str, get_args(kinds[0])))
    words = KINDS.get(kinds[0], "a list, with commas")
    bounds = " and ".join(_bounds(field.metadata))
    return f"{words} {bounds}" if bounds else words


def is_secret(field: FieldInfo) -> bool:
    """Whether its value must not be shown."""
    return SecretStr in _kinds(field.annotation)


def _kinds(annotation: Any) -> tuple[Any, ...]:
    """The types of a setting, without None."""
    if get_origin(annotation) in (Union, UnionType):
        return tuple(one for one in get_args(annotation) if one is not NoneType)
    return (annotation,)


def _bounds(metadata: list[Any]) -> Iterator[str]:
    lower = next((m.ge for m in metadata if isinstance(m, annotated_types.Ge)), None)
    upper = next((m.le for m in metadata if isinstance(m, annotated_types.Le)), None)
    over = next((m.gt for m in metadata if isinstance(m, annotated_types.Gt)), None)
    if over is not None:
        yield f"over {over}"
    if lower is not None and upper is not None:
        yield f"from {lower} to {upper}"
    elif lower is not None:
        yield f"of {lower} or more"
    elif upper is not None:
        yield f"of {upper} or less"


def _sentence(kind: type[SharedSettings], error: dict[str, Any]) -> str:
    place = str(error["loc"][0])
    name, field = next(
        (name, field) for name, field in kind.model_fields.items() if place in (name, *variables(name, field))
    )
    reason = f"give {allowed(field)}"
    if error["type"] == "value_error":  # a sentence of our own
        reason = str(error["msg"]).removeprefix("Value error, ")
    value = "" if is_secret(field) else f" is {without_passwords(repr(error['input']))}"
    return f"{variables(name, field)[0]}{value}: {reason} ({field.description})"
