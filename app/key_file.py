"""The file of API keys: who may call the service, and for what. It knows no HTTP: `vitgan keys` uses it too.

A key is ``vg_<id>_<secret>``: 8 hex digits that may be told, and 43 characters of 256 random bits that may
not. The file holds the SHA-256 of the whole key. A slow hash as for passwords would add nothing: nobody tries
2**256 secrets, however quick each try is.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import secrets
import tempfile
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator

from contract.files import read_regular

MAX_BYTES = 16 * 2**20  # of the file


class Scope(StrEnum):
    """What a key is good for."""

    GENERATE = "generate"  # images
    TRAIN = "train"  # datasets and trainings
    ADMIN = "admin"  # both, and what concerns everybody


class ApiKey(BaseModel):
    """What is kept of a key."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    id: str = Field(pattern=r"^[0-9a-f]{8}$")
    name: str = Field(min_length=1, max_length=64)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    scopes: tuple[Scope, ...] = Field(min_length=1)
    max_waiting: int | None = Field(None, ge=1)
    max_jobs: int | None = Field(None, ge=1)
    created_at: AwareDatetime


class KeyFile(BaseModel):
    """The whole file."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    keys: tuple[ApiKey, ...]

    @model_validator(mode="after")
    def _ids_differ(self) -> KeyFile:
        if len({key.id for key in self.keys}) < len(self.keys):
            raise ValueError("two keys have the same id")
        return self


def hashed(key: str) -> str:
    """What the file keeps of a key's secret: 64 hex digits."""
    return hashlib.sha256(key.encode()).hexdigest()


def new_key(
    name: str, scopes: Iterable[str], max_waiting: int | None = None, max_jobs: int | None = None
) -> tuple[str, ApiKey]:
    """A new key, and what is kept of it; raises ``ValueError`` with the field that is wrong."""
    key_id = secrets.token_hex(4)
    key = f"vg_{key_id}_{secrets.token_urlsafe(32)}"
    now = datetime.now(UTC).replace(microsecond=0)
    kept = {
        "id": key_id, "name": name, "sha256": hashed(key), "scopes": tuple(dict.fromkeys(scopes)),
        "max_waiting": max_waiting, "max_jobs": max_jobs, "created_at": now,
    }  # fmt: skip
    try:
        return key, ApiKey.model_validate(kept)
    except ValidationError as error:
        raise ValueError(_first(error)) from None


def read_keys(path: Path) -> tuple[ApiKey, ...]:
    """The keys of the file; raises ``ValueError`` with a sentence if it cannot be read or is no such file."""
    try:
        return KeyFile.model_validate_json(read_regular(path, MAX_BYTES)).keys
    except OSError as error:
        raise ValueError(
            f"cannot read the API keys of {path} ({error.strerror}): `vitgan keys create` makes such a file"
        ) from None
    except ValidationError as error:
        raise ValueError(f"{path} is no file of API keys: {_first(error)}") from None


@contextlib.contextmanager
def editing(path: Path) -> Iterator[list[ApiKey]]:
    """The keys, to be changed in place and written when the block ends well; one editor at a time.

    A file that is not there has none. Raises ``ValueError`` with a sentence.
    """
    try:
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            keys = list(read_keys(path)) if path.exists() else []
            yield keys
            _write(path, KeyFile(keys=tuple(keys)))
        finally:
            os.close(folder)
    except OSError as error:
        raise ValueError(f"cannot write {path}: {error.strerror}") from None


def _write(path: Path, content: KeyFile) -> None:
    """Whole or not at all, for its owner's eyes alone."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")  # with mode 0600
    try:
        with os.fdopen(handle, "w") as file:
            file.write(content.model_dump_json(indent=2) + "\n")
            file.flush()
            os.fsync(file.fileno())
            # A key that root takes away must be gone for a service that runs as somebody else.
            with contextlib.suppress(FileNotFoundError, PermissionError):
                owner = path.stat()
                os.fchown(file.fileno(), owner.st_uid, owner.st_gid)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _first(error: ValidationError) -> str:
    """Where a file is wrong, and why; never what stands there."""
    told = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in told["loc"])
    message = told["msg"].removeprefix("Value error, ")
    return f"{where}: {message}" if where else message
