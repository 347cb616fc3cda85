"""The messages, validated where they are made and where they arrive; unknown fields are refused."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

MAX_SEED = 2**32 - 1
MAX_SIDE = 65_536  # pixels of one side of an image
NAME_PATTERN = r"^[a-z0-9][a-z0-9._-]{0,63}$"  # of models and datasets: safe as a folder and in a URL
PRESETS = ("vitgan-ti-32", "vitgan-s-32", "vitgan-s-64", "vitgan-b-128")

Name = Annotated[str, Field(pattern=NAME_PATTERN)]
Seed = Annotated[int, Field(ge=0, le=MAX_SEED, strict=True)]
Truncation = Annotated[float, Field(ge=0, le=1)]


class Message(BaseModel):
    """Frozen, closed, and JSON on the wire."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ImageItem(Message):
    """One image of a batch."""

    id: str  # 32 hex digits: the address of its reply frames
    seed: Seed
    truncation: Truncation


class ImageBatch(Message):
    """Images of one model and size, drawn together in one forward pass."""

    reply_to: str  # id of the API process that waits
    model: Name
    digest: str  # of the model that the API promised
    width: Annotated[int, Field(ge=1, le=MAX_SIDE)]
    height: Annotated[int, Field(ge=1, le=MAX_SIDE)]
    items: Annotated[tuple[ImageItem, ...], Field(min_length=1)]
    sent_at: float  # Unix time, for the queue's share of Server-Timing
    deadline: float  # Unix time after which nobody waits


class TrainRequest(Message):
    """What a training job was asked for."""

    dataset: Name
    preset: str
    name: Name  # of the model it makes
    kimg: Annotated[float, Field(gt=0)]
    seed: Seed
