"""Uploaded archives: a zip of pictures is checked member by member and only the good ones are kept.

Anything may be in an upload. What could reach outside (paths), or fill memory or disk (bombs), refuses
the whole archive; what is no readable picture is left out and named. What is kept is deflated, so that it
takes about as much disk as the upload did.
"""

from __future__ import annotations

import contextlib
import io
import posixpath
import threading
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from app.errors import InvalidRequest, TooLarge, short
from app.settings import AppSettings
from contract.pictures import (
    FORMATS,
    METHODS,
    decode,
    decoder_bytes,
    label_files,
    left_out,
    open_picture,
    parse_labels,
)

MAX_NAMED = 100  # skipped files that an answer names
MAX_REASON = 200  # characters of a reason, which may have a name in it
MAX_LABEL_BYTES = 8 * 2**20  # of a dataset.json: a hundred thousand names
MAX_LIST_BYTES = 64 * 2**20  # of a zip's list of its files: 640 for each of a hundred thousand
ENTRY = b"PK\x01\x02"  # begins each entry of that list
LARGE_BYTES = 32 * 2**20  # of memory that decoding a picture takes: of those that take more, one at a time
SYMLINK = 0o120000

_one_large = threading.Lock()


@dataclass(frozen=True)
class Contents:
    """What came of an archive."""

    kept: int
    skipped: list[tuple[str, str]]  # name and reason


class _Archive:
    """An upload as zipfile reads it; while it reads the list of files, that is bounded.

    zipfile makes an object of some 600 bytes of each entry of 46, before anybody can count them.
    """

    def __init__(self, upload: BinaryIO, max_members: int) -> None:
        self._upload, self.max_members = upload, max_members
        self.is_open = False
        self.seek, self.tell, self.seekable = upload.seek, upload.tell, upload.seekable

    def read(self, size: int = -1) -> bytes:
        """The next bytes; raises ``TooLarge`` if they are a list of too many files."""
        if self.is_open:
            return self._upload.read(size)
        if size > MAX_LIST_BYTES:
            raise TooLarge(
                f"file: the zip's list of its files is over {MAX_LIST_BYTES} bytes, send fewer files"
            )
        data = self._upload.read(size)
        if (count := data.count(ENTRY)) > self.max_members:
            raise TooLarge(f"file: {count} files in the zip, at most {self.max_members} are taken")
        return data


def keep_pictures(upload: BinaryIO, target: Path, settings: AppSettings) -> Contents:
    """Copies what can be trained on of the zip ``upload`` into the zip ``target``: pictures and their labels.

    One member is in memory at a time. Raises ``InvalidRequest`` or ``TooLarge`` with what to change.
    """
    if upload.seek(0, io.SEEK_END) == 0:
        raise InvalidRequest("file: the upload is empty, give a zip of pictures")
    with _opened(upload, settings) as archive, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as out:
        members = _members(archive, settings)
        left = left_out(member.filename for member in members)
        named = [member for member in members if member.filename not in left]
        labels = label_files(member.filename for member in named)
        skipped: list[tuple[str, str]] = []
        pixels = 0
        for member in named:
            try:
                if member.filename in labels:
                    _keep_labels(archive, member, out, settings)
                else:
                    pixels += _keep_picture(
                        archive, member, out, settings, settings.max_upload_pixels - pixels
                    )
            except ValueError as error:
                skipped.append((member.filename, short(str(error), MAX_REASON)))
        kept = len(set(out.namelist()).difference(labels))
    skipped.extend(left.items())
    if not kept:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in skipped[:3])
        raise InvalidRequest(
            f"file: no readable picture in the zip, give {', '.join(FORMATS)} files"
            + (f" ({reasons})" if reasons else "")
        )
    return Contents(kept, skipped)


def _opened(upload: BinaryIO, settings: AppSettings) -> zipfile.ZipFile:
    bounded = _Archive(upload, settings.max_members)
    try:
        archive = zipfile.ZipFile(bounded)
        bounded.is_open = True
        return archive
    except TooLarge:
        raise
    except Exception as error:  # BadZipFile, and others for fields that zipfile does not know or cannot read
        raise InvalidRequest(f"file: not a readable zip ({error}), give a zip of pictures") from None


def _members(archive: zipfile.ZipFile, settings: AppSettings) -> list[zipfile.ZipInfo]:
    """The files of an archive that is safe to go through."""
    infos = archive.infolist()
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
    archive: zipfile.ZipFile, member: zipfile.ZipInfo, out: zipfile.ZipFile, settings: AppSettings, left: int
) -> int:
    """Copies a member and gives its pixels, of which ``left`` may be decoded.

    Raises ``ValueError`` with the reason if it cannot be trained on, and ``TooLarge``.
    """
    data = _read(archive, member, settings)
    picture = open_picture(data, settings.max_picture_pixels)
    pixels = picture.width * picture.height
    if pixels > left:
        raise TooLarge(
            f"file: the pictures have over {settings.max_upload_pixels} pixels in all, send fewer of them"
        )
    with _one_large if decoder_bytes(picture) > LARGE_BYTES else contextlib.nullcontext():
        decode(picture)
        del picture  # and its pixels, before another one is decoded
    out.writestr(member.filename, data)
    return pixels


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
