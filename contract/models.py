"""Published models in the shared folders, as both sides see them: a name, a digest, a description.

A model is a folder of ``config.json`` and ``model.safetensors``. Its digest is the SHA-256 of both
files: everything an image depends on besides the request.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from contract.arithmetic import PORTABLE, identity, reference
from contract.files import open_regular, read_regular
from contract.messages import NAME_PATTERN

log = logging.getLogger(__name__)

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
MAX_CONFIG, MAX_WEIGHTS = 2**20, 2**34  # bytes; over 10 and 100 times what the largest preset has


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


@dataclass(frozen=True)
class SkippedModel:
    """A folder that looks like a model and cannot be drawn with."""

    name: str
    reason: str


class ModelLibrary:
    """Models of several folders; the first folder that has a name wins. What is no model is passed over."""

    def __init__(self, *roots: Path) -> None:
        self.roots = roots
        self._logged: dict[Path, str] = {}

    def get(self, name: str) -> PublishedModel:
        """The model of that name; raises ``KeyError`` if there is none."""
        for found in self._of_name(name):
            if isinstance(found, PublishedModel):
                return found
        raise KeyError(name)

    def scan(self) -> tuple[list[PublishedModel], list[SkippedModel]]:
        """All models, and the folders that were passed over, by name."""
        names: set[str] = set()
        models: list[PublishedModel] = []
        skipped: list[SkippedModel] = []
        for root in self.roots:
            try:
                names |= {folder.name for folder in root.iterdir() if re.fullmatch(NAME_PATTERN, folder.name)}
            except FileNotFoundError:
                continue
            except OSError as error:
                skipped.append(self._skip(root, str(error.strerror)))
        for name in sorted(names):
            for found in self._of_name(name):
                (models if isinstance(found, PublishedModel) else skipped).append(found)  # type: ignore[arg-type]
        return models, skipped

    def list(self) -> list[PublishedModel]:
        """All models, by name."""
        return self.scan()[0]

    def _of_name(self, name: str) -> Iterator[PublishedModel | SkippedModel]:
        """Those of that name that are passed over, then the one that counts."""
        if not re.fullmatch(NAME_PATTERN, name):
            return
        for root in self.roots:
            found = _read(root / name)
            if isinstance(found, PublishedModel):
                yield found
                return
            if found:
                yield self._skip(root / name, found)

    def _skip(self, folder: Path, reason: str) -> SkippedModel:
        if self._logged.get(folder) != reason:
            log.warning("%s is passed over: %s", folder, reason)
        self._logged[folder] = reason
        return SkippedModel(folder.name, reason)


def _read(folder: Path) -> PublishedModel | str:
    """The model there, or why it is none; empty if nobody would take it for one."""
    try:
        stats = [(folder / file).stat() for file in (CONFIG, WEIGHTS)]
        return _load(folder, tuple((s.st_mtime_ns, s.st_size, s.st_ino) for s in stats))
    except (FileNotFoundError, NotADirectoryError) as error:
        return "" if str(error.filename).endswith(CONFIG) else f"{WEIGHTS}: {error.strerror}"
    except OSError as error:
        return f"{Path(str(error.filename)).name}: {error.strerror}"


@lru_cache(maxsize=256)
def _load(folder: Path, stamp: tuple[tuple[int, int, int], ...]) -> PublishedModel | str:
    """Reads and hashes; ``stamp`` makes a changed folder a new entry of the cache.

    Gives the reason if ``config.json`` does not say what it should; raises ``OSError``, which is not kept.
    """
    written = read_regular(folder / CONFIG, MAX_CONFIG)
    try:
        config = json.loads(written)
        _Told.model_validate(config)
    except (ValueError, RecursionError) as error:
        return f"{CONFIG}: {_reason(error)}"
    digest = hashlib.sha256(hashlib.sha256(written).digest())
    with open_regular(folder / WEIGHTS, MAX_WEIGHTS) as file:
        digest.update(hashlib.file_digest(file, "sha256").digest())  # type: ignore[arg-type]
    return PublishedModel(folder.name, digest.hexdigest(), folder, config)


def _reason(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
