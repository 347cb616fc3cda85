"""Uploaded archives: a zip of pictures is checked member by member and only the good ones are kept.

Anything may be in an upload. What could reach outside (paths), or fill memory or disk (bombs), refuses
the whole archive; what is no readable picture is left out and named.
"""

from __future__ import annotations

import io
import posixpath
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from app.errors import InvalidRequest, TooLarge
from app.settings import AppSettings
from contract.pictures import FORMATS, METHODS, label_files, left_out, load_picture, parse_labels

MAX_NAMED = 100  # skipped files that an answer names
MAX_LABEL_BYTES = 8 * 2**20  # of a dataset.json: a hundred thousand names
SYMLINK = 0o120000


@dataclass(frozen=True)
class Contents:
    """What came of an archive."""

    kept: int
    skipped: list[tuple[str, str]]  # name and reason


def keep_pictures(upload: BinaryIO, target: Path, settings: AppSettings) -> Contents:
    """Copies what can be trained on of the zip ``upload`` into the zip ``target``: pictures and their labels.

    One member is in memory at a time. Raises ``InvalidRequest`` or ``TooLarge`` with what to change.
    """
    if upload.seek(0, io.SEEK_END) == 0:
        raise InvalidRequest("file: the upload is empty, give a zip of pictures")
    with _opened(upload) as archive, zipfile.ZipFile(target, "w") as out:
        members = _members(archive, settings)
        left = left_out(member.filename for member in members)
        named = [member for member in members if member.filename not in left]
        labels = label_files(member.filename for member in named)
        skipped: list[tuple[str, str]] = []
        for member in named:
            try:
                if member.filename in labels:
                    _keep_labels(archive, member, out, settings)
                else:
                    _keep_picture(archive, member, out, settings)
            except ValueError as error:
                skipped.append((member.filename, str(error)))
        kept = len(set(out.namelist()).difference(labels))
    skipped.extend(left.items())
    if not kept:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in skipped[:3])
        raise InvalidRequest(
            f"file: no readable picture in the zip, give {', '.join(FORMATS)} files"
            + (f" ({reasons})" if reasons else "")
        )
    return Contents(kept, skipped)


def _opened(upload: BinaryIO) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(upload)
    except Exception as error:  # BadZipFile, and others for fields that zipfile does not know or cannot read
        raise InvalidRequest(f"file: not a readable zip ({error}), give a zip of pictures") from None


def _members(archive: zipfile.ZipFile, settings: AppSettings) -> list[zipfile.ZipInfo]:
    """The files of an archive that is safe to go through."""
    infos = archive.infolist()
    if len(infos) > settings.max_members:
        raise TooLarge(f"file: {len(infos)} files in the zip, at most {settings.max_members} are taken")
    unpacked = sum(info.file_size for info in infos)
    if unpacked > settings.max_unpacked_bytes:
        raise TooLarge(
            f"file: the zip unpacks to {unpacked} bytes, at most {settings.max_unpacked_bytes} are taken"
        )
    names = [info.filename for info in infos]
    if len(set(names)) < len(names):
        raise InvalidRequest("file: two files of the zip have the same name")
    if "" in names:
        raise InvalidRequest("file: a file of the zip has no name")
    for info in infos:
        if not _stays_inside(info.filename) or info.external_attr >> 16 & 0o170000 == SYMLINK:
            raise InvalidRequest(f"file: {info.filename!r} points outside the zip, leave it out")
    return [info for info in infos if not info.is_dir()]


def _stays_inside(name: str) -> bool:
    plain = name.replace("\\", "/")
    parts = plain.split("/")
    return not (posixpath.isabs(plain) or ".." in parts or ":" in parts[0] or "\0" in name)


def _keep_picture(
    archive: zipfile.ZipFile, member: zipfile.ZipInfo, out: zipfile.ZipFile, settings: AppSettings
) -> None:
    """Copies a member; raises ``ValueError`` with the reason if it is no picture that can be trained on."""
    data = _read(archive, member, settings)
    load_picture(data, settings.max_picture_pixels).close()
    out.writestr(member.filename, data)


def _keep_labels(
    archive: zipfile.ZipFile, member: zipfile.ZipInfo, out: zipfile.ZipFile, settings: AppSettings
) -> None:
    """Copies a ``dataset.json``; raises ``InvalidRequest`` if a training could not read it."""
    if member.file_size > MAX_LABEL_BYTES:
        raise InvalidRequest(f"file: {member.filename} is over {MAX_LABEL_BYTES} bytes, make it smaller")
    try:
        data = _read(archive, member, settings)
        parse_labels(data, member.filename)
    except ValueError as error:
        raise InvalidRequest(f"file: {error}") from None
    out.writestr(member.filename, data)


def _read(archive: zipfile.ZipFile, member: zipfile.ZipInfo, settings: AppSettings) -> bytes:
    """A member's bytes; raises ``ValueError`` if it is too large or damaged."""
    if member.file_size > settings.max_picture_bytes:
        raise ValueError(f"the file is over {settings.max_picture_bytes} bytes")
    if member.flag_bits & 1:
        raise ValueError("the file is encrypted")
    if member.compress_type not in METHODS:
        raise ValueError("packed in an unusual way, use deflate")
    try:
        with archive.open(member) as file:
            return file.read(member.file_size)  # without a size it would unpack all there is; checks the CRC
    except Exception as error:  # zipfile and zlib have each their own
        raise ValueError(f"damaged in the zip: {error}") from None
