"""Published models in the shared folders, as both sides see them: a name, a digest, a description.

A model is a folder of ``config.json`` and ``model.safetensors``. Its digest is the SHA-256 of both
files: everything an image depends on besides the request.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from contract.arithmetic import PORTABLE, identity, reference
from contract.messages import NAME_PATTERN

log = logging.getLogger(__name__)

CONFIG = "config.json"
WEIGHTS = "model.safetensors"


class _Native(BaseModel):
    model_config = ConfigDict(strict=True)

    resolution: Annotated[int, Field(ge=1)]


class _Told(BaseModel):
    """What of ``config.json`` is told to clients; the rest is the model's own."""

    model_config = ConfigDict(strict=True)

    version: int = 1
    preset: str
    kimg: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    created_at: str
    generator: _Native


@dataclass(frozen=True)
class PublishedModel:
    """One model on disk."""

    name: str
    digest: str  # 64 hex digits
    folder: Path
    config: dict[str, Any]
    arithmetic: str = PORTABLE  # the kind that its images are drawn with

    @property
    def identity(self) -> str:
        """What its images' bytes follow from, besides the request."""
        return identity(self.digest, self.arithmetic)

    @property
    def reference(self) -> str:
        """``name@digest``, as URLs and X-Model have it; with the kind of arithmetic unless it is portable."""
        return reference(self.name, self.digest, self.arithmetic)

    @property
    def short_digest(self) -> str:
        """Twelve digits: enough to tell versions apart in a header."""
        return self.digest[:12]

    def describe(self) -> dict[str, Any]:
        """The model as ``GET /models`` tells it."""
        config = self.config
        return {
            "name": self.name,
            "version": config.get("version", 1),
            "digest": self.digest,
            "preset": config["preset"],
            "resolution": config["generator"]["resolution"],
            "kimg": config["kimg"],
            "created_at": config["created_at"],
        }


class ModelLibrary:
    """Models of several folders; the first folder that has a name wins. What is no model is passed over."""

    def __init__(self, *roots: Path) -> None:
        self.roots = roots

    def get(self, name: str) -> PublishedModel:
        """The model of that name; raises ``KeyError`` if there is none."""
        if (model := self._find(name)) is None:
            raise KeyError(name)
        return model

    def list(self) -> list[PublishedModel]:
        """All models, by name."""
        names = {path.parent.name for root in self.roots for path in root.glob(f"*/{CONFIG}")}
        return [model for name in sorted(names) if (model := self._find(name))]

    def _find(self, name: str) -> PublishedModel | None:
        if not re.fullmatch(NAME_PATTERN, name):
            return None
        return next((model for root in self.roots if (model := _read(root / name))), None)


def _read(folder: Path) -> PublishedModel | None:
    try:
        stats = [(folder / file).stat() for file in (CONFIG, WEIGHTS)]
    except OSError:
        return None
    return _load(folder, tuple((s.st_mtime_ns, s.st_size, s.st_ino) for s in stats))


@lru_cache(maxsize=256)
def _load(folder: Path, stamp: tuple[tuple[int, int, int], ...]) -> PublishedModel | None:
    """Reads and hashes; ``stamp`` makes a changed folder a new entry of the cache.

    None, and a line in the log, if ``config.json`` does not say what it should.
    """
    written = (folder / CONFIG).read_bytes()
    try:
        config = json.loads(written)
        _Told.model_validate(config)
    except (ValueError, RecursionError) as error:
        log.warning("%s does not describe a model, so it is passed over: %s", folder / CONFIG, _reason(error))
        return None
    digest = hashlib.sha256(hashlib.sha256(written).digest())
    with (folder / WEIGHTS).open("rb") as file:
        digest.update(hashlib.file_digest(file, "sha256").digest())
    return PublishedModel(folder.name, digest.hexdigest(), folder, config)


def _reason(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
