"""What the API process can be told."""

from __future__ import annotations

import base64
import binascii

from pydantic import Field, SecretStr, field_validator

from contract.messages import MAX_SIDE
from contract.settings import SharedSettings

BASE64_MARK = "whsec_"  # of the Standard Webhooks: base64 follows


class AppSettings(SharedSettings):
    """Settings of the API."""

    default_model: str = Field("emoji-32", description="the model that `default` names")
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
        description="pixels of all images under way in the whole service; one image alone may have more",
    )
    answer_seconds: float = Field(
        60, gt=0, description="how long a client waits for the next bytes of its image"
    )
    max_kimg: float = Field(100_000, gt=0, description="thousand pictures of one training")
    max_upload_bytes: int = Field(512 * 2**20, ge=1, description="size of an uploaded archive")
    max_unpacked_bytes: int = Field(2 * 2**30, ge=1, description="size of all files in an archive")
    max_members: int = Field(100_000, ge=1, description="files in an archive")
    max_picture_bytes: int = Field(64 * 2**20, ge=1, description="size of one picture's file")
    max_picture_pixels: int = Field(64_000_000, ge=1, description="pixels of one uploaded picture")
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
