"""What the API process can be told."""

from __future__ import annotations

import base64
import binascii
import json
import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, SecretStr, field_validator
from pydantic_settings import NoDecode

from contract.arithmetic import PATTERN, PORTABLE
from contract.messages import MAX_SIDE
from contract.pictures import MAX_BYTES, MAX_PIXELS
from contract.settings import SharedSettings

BASE64_MARK = "whsec_"  # of the Standard Webhooks: base64 follows
ORIGIN = re.compile(r"https?://[^/\s]+")
ROOT_PATH = r"(/[A-Za-z0-9._~-]+)*"
OWN_PATHS = (  # that routes begin with
    "datasets", "docs", "generate", "healthz", "iiif", "images", "interpolate", "jobs", "metrics", "models",
    "openapi.json", "readyz", "redoc", "static", "train", "webhooks",
)  # fmt: skip
HOST_NAME = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")


def _origins(value: Any) -> Any:
    """A JSON list, or names with commas between them; raises ``ValueError`` with the one that is none."""
    if isinstance(value, str) and not value.lstrip().startswith("["):
        value = [part.strip() for part in value.split(",") if part.strip()]
    origins = json.loads(value) if isinstance(value, str) else value
    for origin in origins:
        if origin != "*" and not ORIGIN.fullmatch(str(origin)):
            raise ValueError(f"{origin!r} is no origin: give https://example.org, without a path, or *")
    return origins


def _names(value: Any) -> Any:
    """Names with commas between them; raises ``ValueError`` with the one that is none."""
    names = [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value
    for name in names:
        if name != "*" and not HOST_NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no name: give images.example.org, without scheme and port, or *")
    return names


def _root_path(value: Any) -> Any:
    """Without slashes at its end; raises ``ValueError`` with one that is no path."""
    path = str(value).rstrip("/")
    if not re.fullmatch(ROOT_PATH, path) or {".", ".."} & set(path.split("/")):
        raise ValueError(f"{value!r} is not a path: give /img, without scheme and host")
    if path.removeprefix("/").partition("/")[0] in OWN_PATHS:  # it could be read in two ways
        raise ValueError(f"{value!r} begins as a route of the service: give another, such as /img{path}")
    return path


def _none_if_empty(value: Any) -> Any:
    return None if value == "" else value


class AppSettings(SharedSettings):
    """Settings of the API."""

    api_keys_file: Annotated[Path | None, BeforeValidator(_none_if_empty)] = Field(
        None, description="JSON file of `vitgan keys`: with it, whoever calls must have a key"
    )
    allow_anonymous: bool = Field(
        False, description="listen on other addresses than this machine's own without API keys"
    )
    cors_origins: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_origins)] = Field(
        (), description="sites whose pages may call the API in a browser: with commas, or a JSON list"
    )
    allowed_hosts: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_names)] = Field(
        (),
        description="names that requests may have in their Host header, with commas, or * for all; without: "
        "localhost where only this machine can reach the service and no keys are asked for, else all",
    )
    root_path: Annotated[str, BeforeValidator(_root_path)] = Field(
        "",
        description="path below which a proxy offers the service, such as /img: links, redirects and "
        "documents name it; the proxy may take it off or leave it",
    )
    header_seconds: float = Field(10, gt=0, description="how long a request's head may take to come")
    body_seconds: float = Field(30, gt=0, description="how long the next part of a body may take to come")
    stall_seconds: float = Field(
        30, gt=0, description="how long a client may take nothing of its answer, twice that at most"
    )

    preferred_arithmetic: str = Field(
        PORTABLE,
        pattern=f"^{PATTERN}$",
        description="kind of arithmetic that draws images when workers of several kinds run (GET /readyz "
        "lists them)",
    )
    default_model: str = Field("personas", description="the model that `default` names until one is promoted")
    max_side: int = Field(MAX_SIDE, ge=1, le=MAX_SIDE, description="pixels of an image's side")
    max_pixels: int = Field(
        2**32, ge=1, description="pixels of one image that is sent as it is painted (PNG)"
    )
    max_whole_pixels: int = Field(
        2**24, ge=1, description="pixels of one image that is made whole first (WebP, JPEG, turned, grey)"
    )
    max_frames: int = Field(1000, ge=2, description="frames of one animation")
    iiif_side: int = Field(
        MAX_SIDE, ge=32, le=MAX_SIDE, description="pixels of a side of what IIIF viewers zoom into"
    )
    gather_seconds: float = Field(
        0.002,
        ge=0,
        description="how long a request waits for others to be drawn with, while workers are busy",
    )
    max_batch: int = Field(32, ge=1, description="images of one batch")
    max_waiting: int = Field(
        1024, ge=1, description="images under way in the whole service; more are refused with 503"
    )
    max_waiting_pixels: int = Field(
        2**32,
        ge=1,
        description="pixels of all images over 512 x 512 under way in the whole service, less what is sent; "
        "more are refused with 503",
    )
    max_client_pixels: int = Field(
        2**30,
        ge=1,
        description="the same for each API key, refused with 429; a larger image is taken alone and counts "
        "as so many, without keys too",
    )
    max_queued_jobs: int = Field(
        1000, ge=1, description="jobs of one kind that may wait for a worker; more are refused with 503"
    )
    max_client_jobs: int = Field(
        250,
        ge=1,
        description="unfinished jobs of each API key that has no bound of its own; more are refused with 429",
    )
    max_job_pixels: int = Field(2**32, ge=1, description="pixels of all pictures of one job")
    max_client_job_pixels: int = Field(
        2**34,
        ge=1,
        description="pixels of all unfinished jobs of each API key, or of all who call without; more are "
        "refused with 429",
    )
    answer_seconds: float = Field(
        60, gt=0, description="how long a client waits for the next bytes of its image"
    )
    max_kimg: float = Field(100_000, gt=0, description="thousand pictures of one training")
    max_upload_bytes: int = Field(512 * 2**20, ge=1, description="size of an uploaded archive")
    max_unpacked_bytes: int = Field(2 * 2**30, ge=1, description="size of all files in an archive")
    max_upload_pixels: int = Field(
        2**35, ge=1, description="pixels of all pictures of an archive, each of which is decoded once"
    )
    max_client_dataset_bytes: int = Field(
        2**36,
        ge=1,
        description="disk that the datasets of each API key, or of all who call without, may take; more are "
        "refused with 507",
    )
    max_members: int = Field(100_000, ge=1, description="files in an archive")
    max_picture_bytes: int = Field(
        MAX_BYTES, ge=1, le=MAX_BYTES, description="size of one picture's file; trainings read no larger ones"
    )
    max_picture_pixels: int = Field(
        MAX_PIXELS,
        ge=1,
        le=MAX_PIXELS,
        description="pixels of one uploaded picture; trainings read no larger ones",
    )
    webhook_secret: SecretStr | None = Field(
        None,
        min_length=1,
        description="what webhooks are signed with: text, or whsec_ and base64; none are sent without",
    )
    webhook_allow_private: bool = Field(
        False, description="webhooks may lead to this machine and into private networks"
    )
    webhook_attempts: int = Field(8, ge=1, description="deliveries of a webhook before it is given up")

    @field_validator("webhook_secret")
    @classmethod
    def _is_a_key(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not _key(value):
            raise ValueError("what follows whsec_ must be base64 of one byte or more")
        return value

    @property
    def webhook_key(self) -> bytes:
        """The bytes that webhooks are signed with; empty if none are sent."""
        return _key(self.webhook_secret) if self.webhook_secret else b""


def _key(secret: SecretStr) -> bytes:
    """Of a secret as people write it; empty if it cannot be read."""
    text = secret.get_secret_value()
    if not text.startswith(BASE64_MARK):
        return text.encode()
    try:
        return base64.b64decode(text.removeprefix(BASE64_MARK), validate=True)
    except binascii.Error:
        return b""
