"""Published models in the shared folders, as both sides see them: a name, a digest, a description.

A model is a folder of ``config.json`` and ``model.safetensors``. Its digest is the SHA-256 of both
files: everything an image depends on besides the request.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from contract.messages import NAME_PATTERN

CONFIG = "config.json"
WEIGHTS = "model.safetensors"


@dataclass(frozen=True)
class PublishedModel:
    """One model on disk."""

    name: str
    digest: str  # 64 hex digits
    folder: Path
    config: dict[str, Any]

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
    """Models of several folders; the first folder that has a name wins."""

    def __init__(self, *roots: Path) -> None:
        self.roots = roots

    def get(self, name: str) -> PublishedModel:
        """The model of that name; raises ``KeyError`` if there is none."""
        if re.fullmatch(NAME_PATTERN, name):
            for root in self.roots:
                if (model := _read(root / name)) is not None:
                    return model
        raise KeyError(name)

    def list(self) -> list[PublishedModel]:
        """All models, by name."""
        names = {path.parent.name for root in self.roots for path in root.glob(f"*/{CONFIG}")}
        return [self.get(name) for name in sorted(names) if re.fullmatch(NAME_PATTERN, name)]


def _read(folder: Path) -> PublishedModel | None:
    try:
        stats = [(folder / file).stat() for file in (CONFIG, WEIGHTS)]
    except OSError:
        return None
    return _load(folder, tuple((s.st_mtime_ns, s.st_size, s.st_ino) for s in stats))


@lru_cache(maxsize=256)
def _load(folder: Path, stamp: tuple[tuple[int, int, int], ...]) -> PublishedModel:
    """Reads and hashes; ``stamp`` makes a changed folder a new entry of the cache."""
    config = (folder / CONFIG).read_bytes()
    digest = hashlib.sha256(hashlib.sha256(config).digest())
    with (folder / WEIGHTS).open("rb") as file:
        digest.update(hashlib.file_digest(file, "sha256").digest())
    return PublishedModel(folder.name, digest.hexdigest(), folder, json.loads(config))
