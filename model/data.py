"""Training pictures: a folder or zip of them, decoded once to the training size."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")
MAX_PIXELS = 64_000_000  # of one picture; larger ones are skipped before they are decoded
MAX_BYTES = 64 * 2**20  # of one picture's file


@dataclass(frozen=True)
class Pictures:
    """A training set in memory: pictures [N, 3, s r, s r] uint8, and what was left out, with reasons."""

    images: Tensor
    resolution: int  # r, the side in pixels that training sees
    skipped: tuple[tuple[str, str], ...] = ()

    @property
    def oversample(self) -> int:
        """s: how much finer the pictures are kept than the resolution."""
        return self.images.shape[-1] // self.resolution

    def batch(self, first: int, count: int, seed: int, shift: tuple[int, int] = (0, 0)) -> Tensor:
        """Pictures first..first + count of an endless shuffled sequence: [count, 3, r, r] in -1..1.

        Each epoch is a permutation drawn from (seed, epoch) alone, so the number of pictures seen is
        all that a checkpoint needs to go on with the same data. ``shift`` (x, y), in fine pixels,
        moves the points where pixels are sampled; a pixel is the mean of its s x s fine ones.
        """
        fine = self.images[self._order(first, count, seed)].float().div_(127.5).sub_(1)
        reach, (x, y) = self.oversample // 2, shift
        side = fine.shape[-1]
        padded = F.pad(fine, (reach,) * 4, mode="replicate") if reach else fine
        moved = padded[:, :, reach + y : reach + y + side, reach + x : reach + x + side]
        return F.avg_pool2d(moved, self.oversample)

    def _order(self, first: int, count: int, seed: int) -> Tensor:
        total = len(self.images)
        index = torch.empty(count, dtype=torch.long)
        done = 0
        while done < count:
            epoch, offset = divmod(first + done, total)
            permutation = np.random.default_rng((seed, epoch)).permutation(total)
            part = torch.from_numpy(permutation[offset : offset + count - done])
            index[done : done + len(part)] = part
            done += len(part)
        return index


def load_pictures(source: Path, resolution: int, oversample: int = 1) -> Pictures:
    """Every readable picture below a folder or in a zip, as a centred square for that resolution.

    Raises ``ValueError`` if the source is neither, or holds no picture at all.
    """
    images: list[np.ndarray] = []
    skipped: list[tuple[str, str]] = []
    for name, data in _files(source):
        try:
            images.append(decode(data, resolution * oversample))
        except ValueError as error:
            skipped.append((name, str(error)))
    if not images:
        raise ValueError(f"{source} holds no readable picture: give a folder or zip of {', '.join(FORMATS)}")
    stack = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous()
    return Pictures(stack, resolution, tuple(skipped))


def decode(data: bytes, side: int) -> np.ndarray:
    """A picture file to a centred square [side, side, 3] uint8; turned upright, alpha laid on white.

    Raises ``ValueError`` with the reason if it is no picture, broken or too large.
    """
    if not data:
        raise ValueError("the file is empty, or damaged in its zip")
    if len(data) > MAX_BYTES:
        raise ValueError(f"the file is over {MAX_BYTES >> 20} MiB")
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as opened:
            width, height = opened.size
            if width * height > MAX_PIXELS:
                raise ValueError(f"{width}x{height} is over {MAX_PIXELS // 1_000_000} megapixels")
            opened.draft("RGB", (2 * side, 2 * side))
            picture = ImageOps.exif_transpose(_eight_bit(opened)).convert("RGBA")
    except UnidentifiedImageError:
        raise ValueError("no picture of a known format") from None
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"broken picture: {error}") from None
    white = Image.new("RGBA", picture.size, "white")
    square = ImageOps.fit(
        Image.alpha_composite(white, picture).convert("RGB"), (side, side), Image.Resampling.LANCZOS
    )
    return np.asarray(square)


def _eight_bit(picture: Image.Image) -> Image.Image:
    """Pillow clips 16-bit grey when it converts; scale it first. Other deep modes have no known range."""
    if picture.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(picture) / 257).round().astype(np.uint8))
    if picture.mode in ("I", "F"):
        raise ValueError(f"pixels of mode {picture.mode} have no known range: save it with 8 or 16 bits")
    return picture


def _files(source: Path) -> Iterator[tuple[str, bytes]]:
    """Names and contents of the picture files of a folder or zip, in the order of their names."""
    if source.is_dir():
        for path in sorted(source.rglob("*")):
            if path.suffix.lower() in SUFFIXES and path.is_file():
                yield str(path.relative_to(source)), path.read_bytes()
        return
    try:
        with zipfile.ZipFile(source) as archive:
            for info in sorted(archive.infolist(), key=lambda member: member.filename):
                if info.filename.lower().endswith(SUFFIXES):
                    yield info.filename, _member(archive, info)
    except (zipfile.BadZipFile, OSError) as error:
        raise ValueError(f"{source} is neither a folder nor a zip that can be read: {error}") from None


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    """A member's bytes; none if it is damaged, encrypted or packed in an unknown way."""
    try:
        with archive.open(info) as member:
            return member.read(MAX_BYTES + 1)
    except (zipfile.BadZipFile, zlib.error, RuntimeError, EOFError):
        return b""
