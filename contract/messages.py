"""The messages, validated where they are made and where they arrive; unknown fields are refused."""

from __future__ import annotations

from collections.abc import Set
from typing import Annotated, ClassVar, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer

from contract.arithmetic import PATTERN, PORTABLE
from contract.seeds import MAX_SEED, parse_seeds, written
from contract.versions import BYTES_VERSION

MAX_SIDE = 65_536  # pixels of one side of an image
NAME_PATTERN = r"^[a-z0-9][a-z0-9._-]{0,63}$"  # of models and datasets: safe as a folder and in a URL
PRESETS = ("vitgan-ti-32", "vitgan-ti-32-stylegan2", "vitgan-s-32", "vitgan-s-64", "vitgan-b-128")

SUFFIXES = {"png": "png", "webp": "webp", "jpeg": "jpg"}  # of files, by format

Name = Annotated[str, Field(pattern=NAME_PATTERN)]
Seed = Annotated[int, Field(ge=0, le=MAX_SEED, strict=True)]
Arithmetic = Annotated[str, Field(pattern=f"^{PATTERN}$")]
Truncation = Annotated[float, Field(ge=0, le=1)]
RequestId = Annotated[str, Field(max_length=64)]  # of the HTTP request that asked, for the log

TraceParent = Annotated[str, Field(pattern=r"^(00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2})?$")]  # as W3C has it


class Message(BaseModel):
    """Frozen, closed, and JSON on the wire."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Side(Message):
    """One axis of a drawing: ``length`` pixels from ``start`` of a side of ``full``, as ``count`` pixels."""

    full: Annotated[int, Field(ge=1)]
    start: Annotated[int, Field(ge=0)]
    length: Annotated[int, Field(ge=1)]
    count: Annotated[int, Field(ge=1, le=MAX_SIDE)]

    @classmethod
    def whole(cls, pixels: int) -> Side:
        """All of a side."""
        return cls(full=pixels, start=0, length=pixels, count=pixels)

    @classmethod
    def part(cls, full: int, start: int, length: int) -> Side:
        """A part of a side, pixel by pixel."""
        return cls(full=full, start=start, length=length, count=length)


class Form(Message):
    """What becomes of the pixels: turned and coloured as IIIF has it, then a file."""

    format: Literal["png", "webp", "jpeg"] = "png"
    quality: Literal["color", "gray", "bitonal"] = "color"
    mirrored: bool = False  # left to right, before it is turned
    rotation: Literal[0, 90, 180, 270] = 0  # clockwise

    @property
    def streamed(self) -> bool:
        """Sent as it is painted; all others are made when the last row is there."""
        return self == COLOUR_PNG


COLOUR_PNG = Form()


class Position(Message):
    """Where in an image's bytes a worker begins: at the first, or where another one stopped."""

    strip: Annotated[int, Field(ge=0)] = 0
    offset: Annotated[int, Field(ge=0)] = 0  # bytes of that strip that are there already
    adler: int = 1  # checksum of all strips before it


BEGINNING = Position()


class ImageItem(Message):
    """One image of a batch."""

    id: str  # 32 hex digits: the address of its reply frames
    seed: Seed
    truncation: Truncation
    deadline: float  # Unix time after which nobody waits for it
    request: RequestId = ""
    trace: TraceParent = ""


class Order(Message):
    """What every task of an image worker says."""

    id: str  # 32 hex digits; of a file of several seeds also the address of its reply frames
    reply_to: str  # id of the API process that waits
    model: Name
    digest: str  # of the model that the API promised
    arithmetic: Arithmetic = PORTABLE  # the kind that the API promised
    sent_at: float  # Unix time, for the queue's share of Server-Timing
    deadline: float  # Unix time after which nobody waits

    @property
    def images(self) -> tuple[str, ...]:
        """The addresses of its reply frames."""
        return (self.id,)

    def only(self, open_images: Set[str]) -> Self:
        """Only those images of it."""
        return self


class ImageBatch(Order):
    """Images of one model, size and form, drawn together in one forward pass."""

    columns: Side
    rows: Side
    form: Form = COLOUR_PNG
    items: Annotated[tuple[ImageItem, ...], Field(min_length=1)]
    position: Position = BEGINNING  # of the one image that another worker began

    @property
    def images(self) -> tuple[str, ...]:
        """The addresses of its reply frames."""
        return tuple(item.id for item in self.items)

    def only(self, open_images: Set[str]) -> Self:
        """Only those images of it."""
        return self.model_copy(update={"items": tuple(i for i in self.items if i.id in open_images)})


def _read_seeds(value: object) -> object:
    return tuple(parse_seeds(value)) if isinstance(value, str) else value


class Several(Message):
    """Pictures of several seeds, each ``columns`` x ``rows``, of which one file is made."""

    seeds: Annotated[
        tuple[Seed, ...],
        Field(min_length=1),
        BeforeValidator(_read_seeds),
        PlainSerializer(written, return_type=str, when_used="json"),  # a record is kept for long
    ]
    truncation: Truncation
    columns: Side
    rows: Side


class Grid(Several):
    """One PNG with the pictures side by side, ``across`` a row."""

    kind: Literal["grid"] = "grid"
    across: Annotated[int, Field(ge=1)]

    @property
    def width(self) -> int:
        """Pixels."""
        return self.across * self.columns.count

    @property
    def height(self) -> int:
        """Pixels."""
        return -(-len(self.seeds) // self.across) * self.rows.count

    @property
    def pixels(self) -> int:
        """All that is drawn."""
        return self.width * self.height

    @property
    def media_type(self) -> str:
        """Of the file."""
        return "image/png"

    @property
    def suffix(self) -> str:
        """Of the file's name."""
        return "png"


class Walk(Several):
    """An animation from seed to seed."""

    kind: Literal["walk"] = "walk"
    frames: Annotated[int, Field(ge=2)]
    space: Literal["z", "w"] = "z"
    loop: bool = True  # back to the first seed, and again
    fps: Annotated[int, Field(ge=1)] = 24
    format: Literal["png", "webp"] = "png"

    @property
    def pixels(self) -> int:
        """All that is drawn."""
        return self.frames * self.columns.count * self.rows.count

    @property
    def media_type(self) -> str:
        """Of the file."""
        return "image/apng" if self.format == "png" else "image/webp"

    @property
    def suffix(self) -> str:
        """Of the file's name."""
        return self.format


class Images(Several):
    """One image, or a zip of several."""

    kind: Literal["images"] = "images"
    form: Form = COLOUR_PNG
    zipped: bool = False

    @property
    def pixels(self) -> int:
        """All that is drawn."""
        return len(self.seeds) * self.columns.count * self.rows.count

    @property
    def media_type(self) -> str:
        """Of the file."""
        return "application/zip" if self.zipped else f"image/{self.form.format}"

    @property
    def suffix(self) -> str:
        """Of the file's name."""
        return "zip" if self.zipped else SUFFIXES[self.form.format]


class Composition(Order):
    """A grid or a walk to draw."""

    what: Annotated[Grid | Walk, Field(discriminator="kind")]
    position: Position = BEGINNING
    request: RequestId = ""
    trace: TraceParent = ""


class DrawRequest(Message):
    """What a drawing job was asked for."""

    KIND: ClassVar = "draw"

    model: Name
    digest: str
    what: Annotated[Images | Grid | Walk, Field(discriminator="kind")]
    bytes_version: int = BYTES_VERSION  # of the API that was asked
    request_id: RequestId = ""
    trace: TraceParent = ""


class TrainRequest(Message):
    """What a training job was asked for."""

    KIND: ClassVar = "train"

    dataset: Name
    preset: str
    name: Name  # of the model it makes
    kimg: Annotated[float, Field(gt=0)]
    seed: Seed
    request_id: RequestId = ""
    trace: TraceParent = ""
