"""What answers hold besides jobs, as clients are told by /openapi.json; fields may be added to each."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from app.schemas import Listing
from contract.jobs import Job
from contract.models import SkippedModel


class Answer(BaseModel):
    """A part of an answer."""

    model_config = ConfigDict(extra="allow")


class SkippedFile(Answer):
    """A member of an upload that was not kept."""

    name: str
    reason: str


class Dataset(Answer):
    """Pictures to train on."""

    name: str
    pictures: int = Field(description="how many were kept")
    skipped: int = Field(0, description="how many were left out")
    skipped_files: list[SkippedFile] = Field([], description="the first of those that were left out")
    bytes: int = Field(description="size on disk")
    created_at: str


class Datasets(Listing[Dataset]):
    """A page of datasets."""


class Model(Answer):
    """A model to draw with."""

    name: str
    version: int
    digest: str = Field(description="SHA-256 of its files, in hex; its first twelve digits stand in X-Model")
    preset: str
    resolution: int = Field(description="native size in pixels")
    kimg: float = Field(description="thousand pictures that it was trained on")
    created_at: str
    default: bool = Field(description="whether it is the one drawn with when none is named")


class Models(Listing[Model]):
    """A page of models."""

    skipped: list[SkippedModel] = Field(description="folders that cannot be drawn with, and why")


class Jobs(Listing[Job]):
    """A page of jobs."""


class Alive(Answer):
    """This process answers."""

    status: Literal["alive"] = "alive"


class Disk(Answer):
    """Whether the data folder takes what is written to it."""

    writable: bool
    problem: str | None = Field(description="why not, as a sentence")


class Readiness(Answer):
    """Whether images can be drawn now, and what is there for it."""

    status: Literal["ready", "missing"]
    missing: list[str] = Field(description="what keeps images from being drawn, as sentences")
    redis: bool
    image_workers: int
    arithmetic: dict[str, int] = Field(description="image workers by kind of arithmetic")
    training_workers: int
    skipped_models: list[SkippedModel]
    disk: Disk
    version: str = Field(description="of protocol and bytes, which workers must share")
    other_versions: list[str] = Field(description="kind and version of workers that are not asked")


class TrainingProgress(Answer):
    """How far a training is; fields that are not measured yet are absent or null."""

    kimg: float = Field(description="thousand pictures seen by the discriminator")
    total_kimg: float
    images_per_second: float | None = None
    eta_seconds: float | None = None
    loss_g: float | None = Field(None, description="0.693 when D knows nothing")
    loss_d: float | None = Field(None, description="1.386 when D knows nothing")
    consistency: float | None = Field(None, description="the bCR terms")
    logit_real: float | None = None
    logit_fake: float | None = None
    augment_probability: float | None = None
    signs: float | None = Field(None, description="mean sign of the logits of real pictures")
    right: float | None = Field(None, description="share of pictures that D takes for what they are")
    spread: float | None = Field(None, description="over seeds, 0 to 1; near 0 every seed is one picture")
    learning_rate: float | None = None
    data_wait: float | None = Field(None, description="share of the time that steps wait for pictures")
    memory_bytes: int | None = None
    distance: float | None = Field(None, description="sliced Wasserstein to the pictures, x 1000")
    warning: str | None = Field(None, description="a sentence when something looks wrong")


class DrawingProgress(Answer):
    """How far a drawing is."""

    bytes: int = Field(description="of its file that are there")
    images: int | None = Field(None, description="that are drawn; of several seeds and of one")
    total_images: int | None = None


class TrainingResult(Answer):
    """What a training has made."""

    model: str = Field(description="name to draw with")
    digest: str


class DrawingResult(Answer):
    """The file that a drawing has made: GET /jobs/{id}/result."""

    media_type: str
    bytes: int
    model: str | None = Field(None, description="name@digest, as in X-Model")


OF_JOBS: dict[str, tuple[type[Answer], type[Answer]]] = {
    "progress": (TrainingProgress, DrawingProgress),
    "result": (TrainingResult, DrawingResult),
}


def of_jobs() -> dict[str, Any]:
    """Schemas by name of what a job's record holds as it was told by workers."""
    return {kind.__name__: kind.model_json_schema() for kinds in OF_JOBS.values() for kind in kinds}
