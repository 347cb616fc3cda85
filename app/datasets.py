"""Uploaded datasets in the shared folder: ``datasets/<name>/`` of ``pictures.zip`` and ``info.json``."""

from __future__ import annotations

import contextlib
import json
import logging
import shutil
import time
import uuid
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from app.archives import MAX_NAMED, keep_pictures
from app.errors import Conflict, InsufficientStorage, InvalidRequest, NotFound, short
from app.settings import AppSettings
from contract.disk import writing
from contract.files import read_regular
from contract.leftovers import sweep
from contract.pictures import MIN_PICTURES, label_files

log = logging.getLogger(__name__)

MAX_INFO = 2**20  # bytes of info.json
MAX_NAME = 200  # characters of a file's name that are told
UPLOAD = "upload"  # in a dataset's folder: which upload it came with
OWNER = "owner"  # in a dataset's folder: whose it is


def store_dataset(
    upload: BinaryIO, name: str, upload_id: str, owner: str, settings: AppSettings
) -> dict[str, Any]:
    """Checks an upload and keeps its pictures under that name, whole or not at all.

    What the same upload has stored before is told again. Raises ``Conflict`` if the name is taken,
    ``InsufficientStorage`` if the owner's datasets take too much disk, ``DiskError`` if it is full, and what
    ``keep_pictures`` raises.
    """
    target = settings.datasets_dir / name
    if target.exists():
        return _same(name, upload_id, settings)
    sweep_uploads(settings)
    with writing(settings.datasets_dir):
        return _store(upload, target, upload_id, owner, settings)


def _store(
    upload: BinaryIO, target: Path, upload_id: str, owner: str, settings: AppSettings
) -> dict[str, Any]:
    name = target.name
    incoming = settings.datasets_dir / f".incoming-{uuid.uuid4().hex}"
    try:
        incoming.mkdir(parents=True)
        contents = keep_pictures(upload, incoming / "pictures.zip", settings)
        info = {
            "name": name,
            "pictures": contents.kept,
            "skipped": len(contents.skipped),
            "skipped_files": [
                {"name": short(file, MAX_NAME), "reason": reason}
                for file, reason in contents.skipped[:MAX_NAMED]
            ],
            "bytes": (incoming / "pictures.zip").stat().st_size,
            "created_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }
        (incoming / "info.json").write_text(json.dumps(info, indent=2))
        (incoming / UPLOAD).write_text(upload_id)
        (incoming / OWNER).write_text(owner)
        _check_room(incoming, owner, settings)
        try:
            incoming.rename(target)
        except OSError:
            if not target.exists():
                raise
            return _same(name, upload_id, settings)  # another upload of that name was quicker
    finally:
        shutil.rmtree(incoming, ignore_errors=True)
    return info


def sweep_uploads(settings: AppSettings) -> None:
    """Removes what processes that died have left of uploads."""
    sweep(settings.datasets_dir.glob(".incoming-*"), settings.leftover_seconds)


def read_dataset(name: str, settings: AppSettings) -> dict[str, Any]:
    """What is known of a dataset; raises ``NotFound``. Only names that are listed are looked up."""
    if name not in dataset_names(settings):
        raise NotFound(f"dataset {short(name)!r} does not exist: GET /datasets lists all datasets")
    try:
        info: dict[str, Any] = json.loads(read_regular(settings.datasets_dir / name / "info.json", MAX_INFO))
    except (OSError, ValueError, RecursionError) as error:
        log.error("dataset %s cannot be read: %s", name, error)
        raise NotFound(f"dataset {name!r} cannot be read: the service's log says why") from None
    return info


def read_datasets(names: list[str], settings: AppSettings) -> Iterator[dict[str, Any]]:
    """What is known of those datasets; one that cannot be read is passed over."""
    for name in names:
        with contextlib.suppress(NotFound):
            yield read_dataset(name, settings)


def check_trainable(name: str, settings: AppSettings) -> None:
    """Raises ``InvalidRequest`` if there is no such dataset, or too few pictures in it that differ."""
    if name not in dataset_names(settings):
        raise InvalidRequest(f"dataset: {short(name)!r} does not exist, GET /datasets lists all datasets")
    with zipfile.ZipFile(settings.datasets_dir / name / "pictures.zip") as archive:
        members = archive.infolist()
    labels = label_files(member.filename for member in members)
    different = {(member.CRC, member.file_size) for member in members if member.filename not in labels}
    if len(different) < MIN_PICTURES:
        raise InvalidRequest(
            f"dataset: {name!r} holds {len(different)} different pictures, {MIN_PICTURES} are the least to "
            "train on: upload more under another name"
        )


def _check_room(incoming: Path, owner: str, settings: AppSettings) -> None:
    """Raises ``InsufficientStorage`` if the owner's datasets and that one take more disk than they may."""
    most, needed = settings.max_client_dataset_bytes, _disk_bytes(incoming)
    kept = sum(
        _disk_bytes(path.parent)
        for path in settings.datasets_dir.glob(f"[!.]*/{OWNER}")
        if path.read_text() == owner
    )
    if kept + needed > most:
        raise InsufficientStorage(
            f"file: this dataset takes {needed} bytes of disk and your others {kept}, of {most} that one "
            "client's may take: send a smaller one, or ask who runs the service to remove some or to raise "
            "VITGAN_MAX_CLIENT_DATASET_BYTES",
            reason="quota_datasets",
        )


def _disk_bytes(folder: Path) -> int:
    """What the folder's files take on disk."""
    return sum(file.stat().st_blocks * 512 for file in folder.iterdir())


def _same(name: str, upload_id: str, settings: AppSettings) -> dict[str, Any]:
    """What is known of a dataset that this upload has made; raises ``Conflict`` if it is another's."""
    stored = settings.datasets_dir / name / UPLOAD
    if not stored.exists() or stored.read_text() != upload_id:
        raise taken(name)
    return read_dataset(name, settings)


def dataset_names(settings: AppSettings) -> list[str]:
    """The names of all datasets, sorted."""
    found = settings.datasets_dir.glob("[!.]*/info.json")
    return sorted(path.parent.name for path in found)


def taken(name: str) -> Conflict:
    """The refusal of a name that is in use."""
    return Conflict(f"there is a dataset {name!r} already: choose another name")
