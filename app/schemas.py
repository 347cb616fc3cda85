"""Bodies of requests, closed to unknown fields, and the envelope of lists."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Generic, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, field_validator

from contract.messages import MAX_SEED, MAX_SIDE, NAME_PATTERN, PRESETS, Seed, Truncation


def _sides(value: Any) -> tuple[int, int]:
    sides = (value, value) if isinstance(value, int) else value
    if (
        not isinstance(sides, list | tuple)
        or len(sides) != 2
        or any(isinstance(side, bool) or not isinstance(side, int) for side in sides)
        or not all(1 <= side <= MAX_SIDE for side in sides)
    ):
        raise ValueError(f"give one side in pixels, or [width, height], whole numbers from 1 to {MAX_SIDE}")
    return sides[0], sides[1]


_SIDE_SCHEMA = {"type": "integer", "minimum": 1, "maximum": MAX_SIDE}
Resolution = Annotated[
    tuple[int, int],
    BeforeValidator(_sides),
    WithJsonSchema(
        {
            "anyOf": [
                _SIDE_SCHEMA,
                {"type": "array", "items": _SIDE_SCHEMA, "minItems": 2, "maxItems": 2},
            ],
            "default": 256,
        }
    ),
]


def _named(what: str) -> BeforeValidator:
    def check(value: Any) -> Any:
        if not isinstance(value, str) or not re.fullmatch(NAME_PATTERN, value):
            raise ValueError(
                f"give a name for the {what} of 1 to 64 lower-case letters, digits, '.', '_' or '-', "
                "beginning with a letter or digit"
            )
        return value

    return BeforeValidator(check)


DatasetName = Annotated[str, _named("dataset"), Field(pattern=NAME_PATTERN)]
ModelName = Annotated[str, _named("model"), Field(pattern=NAME_PATTERN)]


class Body(BaseModel):
    """A request's body."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class GenerateBody(Body):
    """POST /generate."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"seed": 42, "resolution": 256},
                {"seed": 7, "resolution": [333, 200], "truncation": 0.7, "model": "default"},
            ]
        }
    )

    seed: Seed = Field(
        default_factory=lambda: secrets.randbelow(MAX_SEED + 1),
        description="which picture; random when absent, and told in X-Seed",
    )
    resolution: Resolution = Field((256, 256), description="N, or [width, height], in pixels")
    truncation: Truncation = Field(
        1.0, description="1: the model as it is; toward 0: nearer to its mean picture, less varied"
    )
    model: str = Field("default", description="a model's name, or `default`")


class TrainBody(Body):
    """POST /train."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"dataset": "cats", "preset": "vitgan-ti-32", "name": "my-cats", "kimg": 100}]
        }
    )

    dataset: str = Field(description="an uploaded dataset's name")
    preset: str = Field("vitgan-ti-32", description=f"one of {', '.join(PRESETS)}")
    name: ModelName = Field(description="of the model that it makes")
    kimg: float = Field(gt=0, description="thousand pictures to train on")
    seed: Seed = Field(0, description="of the training's randomness")

    @field_validator("preset")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in PRESETS:
            raise ValueError(f"unknown preset: choose one of {', '.join(PRESETS)}")
        return value


Item = TypeVar("Item")


class Listing(BaseModel, Generic[Item]):
    """A page of a list; ``next_cursor`` asks for the next one."""

    items: list[Item]
    next_cursor: str | None


def page(items: Sequence[Item], key: Callable[[Item], str], limit: int, cursor: str | None) -> Listing[Item]:
    """The part of a list sorted by ``key`` that comes after ``cursor``."""
    rest = [item for item in items if cursor is None or key(item) > cursor]
    more = len(rest) > limit
    return Listing(items=rest[:limit], next_cursor=key(rest[limit - 1]) if more else None)
