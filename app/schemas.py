"""Bodies of requests, closed to unknown fields, and the envelope of lists."""

from __future__ import annotations

import math
import re
import secrets
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    HttpUrl,
    WithJsonSchema,
    field_validator,
    model_validator,
)
from pydantic_core import CoreSchema

from app.numbers import Flag, Number, Positive, Whole, as_whole
from contract.messages import (
    MAX_SIDE,
    NAME_PATTERN,
    PRESETS,
    Form,
    Grid,
    Images,
    Side,
    Walk,
)
from contract.seeds import MAX_SEED, count_seeds, parse_seeds

MAX_SEEDS = 10_000  # of one request


def _sides(value: Any) -> tuple[int, int]:
    sides = _integers(value if isinstance(value, list | tuple) else (value, value))
    if not sides or len(sides) != 2 or not all(1 <= side <= MAX_SIDE for side in sides):
        raise ValueError(f"give one side in pixels, or [width, height], whole numbers from 1 to {MAX_SIDE}")
    return sides[0], sides[1]


def _integers(values: Any) -> list[int] | None:
    """The list with its whole numbers as integers; None if it is no list, or has anything else."""
    if not isinstance(values, list | tuple):
        return None
    numbers = [as_whole(value) for value in values]
    return None if any(isinstance(n, bool) or not isinstance(n, int) for n in numbers) else numbers


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


def _seeds(value: Any) -> Any:
    if isinstance(value, str):
        if (count := count_seeds(value)) > MAX_SEEDS:
            raise ValueError(f"{count} seeds, at most {MAX_SEEDS} are taken at once")
        value = parse_seeds(value)
    if not isinstance(value, list | tuple) or not value:
        raise ValueError('give a list of seeds, or numbers and ranges such as "0-15,20"')
    if len(value) > MAX_SEEDS:
        raise ValueError(f"{len(value)} seeds, at most {MAX_SEEDS} are taken at once")
    seeds = _integers(value)
    if seeds is None or not all(0 <= seed <= MAX_SEED for seed in seeds):
        raise ValueError(f"give whole numbers from 0 to {MAX_SEED}")
    if len(set(seeds)) < len(seeds):
        raise ValueError("a seed stands there twice: give each once")
    return tuple(seeds)


Seeds = Annotated[
    tuple[int, ...],
    BeforeValidator(_seeds),
    WithJsonSchema(
        {
            "anyOf": [
                {
                    "type": "array",
                    "items": {"type": "integer", "minimum": 0, "maximum": MAX_SEED},
                    "minItems": 1,
                    "maxItems": MAX_SEEDS,
                    "uniqueItems": True,
                },
                {"type": "string", "examples": ["0-15,20"]},
            ]
        }
    ),
]


def _region(value: Any) -> Any:
    parts = _integers(value)
    if not parts or len(parts) != 4 or min(parts[:2]) < 0 or min(parts[2:]) < 1:
        raise ValueError("give [x, y, width, height], whole numbers, x and y from 0, width and height from 1")
    return tuple(parts)


_PLACE, _EXTENT = {"type": "integer", "minimum": 0}, {"type": "integer", "minimum": 1}
Region = Annotated[
    tuple[int, int, int, int],
    BeforeValidator(_region),
    WithJsonSchema(
        {
            "type": "array",
            "prefixItems": [_PLACE, _PLACE, _EXTENT, _EXTENT],
            "minItems": 4,
            "maxItems": 4,
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


DatasetName = Annotated[str, Field(pattern=NAME_PATTERN), _named("dataset")]
ModelName = Annotated[str, Field(pattern=NAME_PATTERN), _named("model")]


def _webhook(url: HttpUrl) -> HttpUrl:
    if url.username is not None or url.password is not None:
        raise ValueError("leave the user's name and password out of the URL")
    if url.port == 0:
        raise ValueError("give a port from 1 to 65535")
    return url


Webhook = Annotated[HttpUrl, AfterValidator(_webhook)]


class Body(BaseModel):
    """A request's body; null for a field that may be absent is absence."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _null_is_absence(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        optional = {name for name, field in cls.model_fields.items() if not field.is_required()}
        return {name: value for name, value in given.items() if value is not None or name not in optional}

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """The schema, which says so of each of those fields."""
        schema = handler.resolve_ref_schema(handler(core))
        for name, told in schema.get("properties", {}).items():
            if name not in schema.get("required", ()) and {"type": "null"} not in told.get("anyOf", ()):
                about = {key: told.pop(key) for key in ("title", "description", "default") if key in told}
                schema["properties"][name] = {"anyOf": [told, {"type": "null"}]} | about
        return schema


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

    seed: Whole = Field(
        ge=0,
        le=MAX_SEED,
        default_factory=lambda: secrets.randbelow(MAX_SEED + 1),
        description="which picture; random when absent, and told in X-Seed",
    )
    seeds: Seeds | None = Field(
        None, description='several, as a list or as text such as "0-15,20": the answer is a zip'
    )
    resolution: Resolution = Field((256, 256), description="N, or [width, height], in pixels")
    truncation: Number = Field(
        1.0,
        ge=0,
        le=1,
        description="1: the model as it is; toward 0: nearer to its mean picture, less varied",
    )
    model: str = Field("default", description="a model's name, name@digest as X-Model has it, or `default`")
    region: Region | None = Field(
        None, description="[x, y, width, height] in pixels of the whole image: only that part is drawn"
    )
    format: Literal["png", "webp", "jpeg"] = Field(
        "png", description="png, webp or jpeg (the latter two lossy)"
    )
    layout: Literal["zip", "grid"] = Field("zip", description="of several seeds: a zip, or one PNG of all")
    across: Positive | None = Field(
        None, description="pictures in a row of the grid; as many as make it square when absent"
    )
    webhook: Webhook | None = Field(None, description="URL that is told of the job's end; of a job only")

    @property
    def sides(self) -> tuple[Side, Side]:
        """What is drawn of each axis."""
        width, height = self.resolution
        x, y, w, h = self.region or (0, 0, width, height)
        return Side.part(width, x, w), Side.part(height, y, h)

    def what(self) -> Images | Grid:
        """What is drawn."""
        seeds, (columns, rows) = self.seeds or (self.seed,), self.sides
        if self.layout == "grid":
            across = min(self.across or math.ceil(math.sqrt(len(seeds))), len(seeds))
            return Grid(seeds=seeds, truncation=self.truncation, columns=columns, rows=rows, across=across)
        return Images(
            seeds=seeds, truncation=self.truncation, columns=columns, rows=rows,
            form=Form(format=self.format), zipped=self.seeds is not None,
        )  # fmt: skip

    @model_validator(mode="after")
    def _one_or_several(self) -> GenerateBody:
        if {"seed", "seeds"} <= self.model_fields_set:
            raise ValueError("seed and seeds: give one of them")
        if self.layout == "grid" and (self.seeds is None or self.format != "png"):
            raise ValueError("layout: a grid is a png of several seeds, give seeds and no other format")
        if self.across and self.layout != "grid":
            raise ValueError('across: of a grid only, give "layout": "grid" too')
        return self

    @model_validator(mode="after")
    def _inside(self) -> GenerateBody:
        if self.region:
            (width, height), (x, y, w, h) = self.resolution, self.region
            if x + w > width or y + h > height:
                raise ValueError(
                    f"region: [{x}, {y}, {w}, {h}] reaches outside the {width}x{height} image, "
                    f"x + width may be {width} and y + height {height} at most"
                )
        return self


class InterpolateBody(Body):
    """POST /interpolate."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"seeds": [1, 2, 3], "frames": 72, "resolution": 256}]}
    )

    seeds: Seeds = Field(description='the stops, two or more: a list, or text such as "0-3,20"')
    frames: Whole = Field(72, ge=2, description="of the whole animation")
    resolution: Resolution = Field((256, 256), description="N, or [width, height], in pixels")
    truncation: Number = Field(1.0, ge=0, le=1, description="as in POST /generate")
    space: Literal["z", "w"] = Field(
        "z", description="z: along great circles between latents; w: straight between styles, often smoother"
    )
    loop: Flag = Field(True, description="back to the first seed, and again without end")
    fps: Whole = Field(24, ge=1, le=60, description="frames a second")
    format: Literal["png", "webp"] = Field("png", description="png: APNG, sent as it is painted; webp: lossy")
    model: str = Field("default", description="a model's name, name@digest as X-Model has it, or `default`")
    webhook: Webhook | None = Field(None, description="URL that is told of the job's end; of a job only")

    @model_validator(mode="after")
    def _enough(self) -> InterpolateBody:
        if len(self.seeds) < 2:
            raise ValueError("seeds: give two or more to walk between")
        if self.frames < len(self.seeds):
            raise ValueError(
                f"frames: {self.frames} do not show {len(self.seeds)} seeds, give as many or more"
            )
        return self

    def walk(self) -> Walk:
        """What is drawn."""
        width, height = self.resolution
        given = self.model_dump(exclude={"resolution", "model", "webhook"})
        return Walk(columns=Side.whole(width), rows=Side.whole(height), **given)


class TrainBody(Body):
    """POST /train."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"dataset": "cats", "preset": "vitgan-ti-32-stylegan2", "name": "my-cats", "kimg": 100}
            ]
        }
    )

    dataset: str = Field(description="an uploaded dataset's name")
    preset: str = Field("vitgan-ti-32-stylegan2", description=f"one of {', '.join(PRESETS)}")
    name: ModelName = Field(description="of the model that it makes")
    kimg: Number = Field(gt=0, description="thousand pictures to train on")
    seed: Whole = Field(0, ge=0, le=MAX_SEED, description="of the training's randomness")
    webhook: Webhook | None = Field(None, description="URL that is told of the job's end")

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
