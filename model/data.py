"""Training pictures: a folder or zip of them, decoded once to squares, read batch by batch."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageColor, ImageOps, UnidentifiedImageError
from torch import Tensor

from model.source import MAX_BYTES, Source
from model.store import Progress, SizedPictures, Store, open_or_build, store_folder
from model.views import View

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")
CROPS = ("centre", "pad")
MAX_PIXELS = 64_000_000  # of one picture; larger ones are skipped before they are decoded
MIN_PICTURES = 32  # fewer are learned by heart


@dataclass(frozen=True)
class Pictures:
    """A training set: pictures [N, 3, s r, s r] uint8, and what was left out, with reasons."""

    images: Tensor | SizedPictures  # in memory, or mapped from a store
    resolution: int  # r, the side in pixels that training sees
    skipped: tuple[tuple[str, str], ...] = ()
    labels: tuple[int, ...] | None = None  # a class a picture; kept, and not used by training

    def __len__(self) -> int:
        return len(self.pixels)

    @property
    def oversample(self) -> int:
        """s: how much finer the pictures are kept than the resolution."""
        return int(self.pixels.shape[-1]) // self.resolution

    def take(self, indices: Sequence[int] | Tensor) -> Tensor:
        """Those pictures as they are kept: [n, 3, s r, s r] uint8.

        Raises ``DamagedStore`` if they are mapped and a checksum is wrong.
        """
        if isinstance(self.images, Tensor):
            return self.images[torch.as_tensor(indices)]
        return torch.from_numpy(self.images.take([int(index) for index in indices]))

    def batch(self, first: int, count: int, seed: int, flip: Tensor | None = None,
              views: Sequence[View] = (View(),)) -> Tensor:  # fmt: skip
        """Pictures first..first + count of an endless shuffled sequence: [count, 3, r, r] in -1..1.

        Each epoch is a permutation drawn from (seed, epoch) alone, so the number of pictures seen is
        all that a checkpoint needs to go on with the same data. Those with ``flip`` [count] are mirrored;
        count / V are seen through each of V ``views``, in their order.
        """
        fine = self.take(self._order(first, count, seed))  # [count, 3, s r, s r] uint8
        if flip is not None:
            fine = torch.where(flip.cpu()[:, None, None, None], fine.flip(3), fine)
        parts = zip(fine.chunk(len(views)), views, strict=True)
        return torch.cat([view.cut(part, self.resolution) for part, view in parts])

    @property
    def pixels(self) -> Tensor | np.ndarray:
        """All pictures as they are kept, [N, 3, s r, s r] uint8, unchecked and not in memory if mapped."""
        return self.images if isinstance(self.images, Tensor) else self.images.pixels

    def _order(self, first: int, count: int, seed: int) -> Tensor:
        total = len(self)
        index = torch.empty(count, dtype=torch.long)
        done = 0
        while done < count:
            epoch, offset = divmod(first + done, total)
            permutation = np.random.default_rng((seed, epoch)).permutation(total)
            part = torch.from_numpy(permutation[offset : offset + count - done])
            index[done : done + len(part)] = part
            done += len(part)
        return index


def load_pictures(
    source: Path,
    resolution: int,
    oversample: int = 1,
    *,
    cache: Path,
    crop: str = "centre",
    background: str = "white",
    on_progress: Progress = lambda done, total: None,
) -> Pictures:
    """Every readable picture below a folder or in a zip, as squares for that resolution.

    Decoded once into a store below the folder ``cache``. ``crop`` is "centre" (the middle square) or "pad"
    (all of the picture, on ``background``); transparent pixels are laid on ``background``, a name or
    #rrggbb.

    Raises ``ValueError`` if an argument is wrong, there are too few pictures, or all are one colour.
    """
    store = picture_store(source, cache, crop=crop, background=background, on_progress=on_progress)
    sized = store.sized(resolution * oversample, on_progress)
    pictures = Pictures(sized, resolution, store.skipped, store.labels)
    check_trainable(pictures)
    return pictures


def check_trainable(pictures: Pictures) -> None:
    """Raises ``ValueError`` if there are too few pictures to train on, or all are one and the same colour."""
    if len(pictures) < MIN_PICTURES:
        raise ValueError(
            f"{MIN_PICTURES} pictures are the least to train on; the source holds {len(pictures)}"
            + _examples(pictures.skipped)
        )
    first = np.asarray(pictures.pixels[0, :, :1, :1])
    if all(np.array_equal(picture, np.broadcast_to(first, picture.shape)) for picture in pictures.pixels):
        raise ValueError(
            "all pictures are one and the same colour, there is nothing to learn: give pictures that differ"
        )


def picture_store(
    source: Path,
    cache: Path,
    *,
    crop: str = "centre",
    background: str = "white",
    on_progress: Progress = lambda done, total: None,
) -> Store:
    """The store of that source at full size; built if there is none below ``cache`` that matches.

    Raises ``ValueError`` if an argument is wrong or the source holds no readable picture.
    """
    if crop not in CROPS:
        raise ValueError(f"crop is {crop!r}: give {' or '.join(CROPS)}")
    try:
        colour = ImageColor.getrgb(background)[:3]
    except ValueError:
        raise ValueError(f"background is {background!r}: give a colour's name or #rrggbb") from None
    with Source(source) as files:
        folder = store_folder(cache, files.fingerprint(), {"crop": crop, "background": colour})
        squares = _squares(files, crop, colour)
        store = open_or_build(folder, squares, files.labels(), len(files.names), on_progress)
    if not len(store):
        raise ValueError(
            f"{source} holds no readable picture: give a folder or zip of {', '.join(FORMATS)}"
            + _examples(store.skipped)
        )
    return store


def _squares(files: Source, crop: str, background: tuple[int, ...]) -> Iterator[tuple[str, np.ndarray | str]]:
    for name, data in files:
        try:
            yield name, decode(data, crop, background)
        except ValueError as error:
            yield name, str(error)


def _examples(skipped: Sequence[tuple[str, str]]) -> str:
    """The first of the refused pictures, in brackets; nothing if there are none."""
    shown = "; ".join(f"{name}: {why}" for name, why in skipped[:3])
    return f" ({len(skipped)} refused: {shown})" if shown else ""


def decode(data: bytes, crop: str = "centre", background: tuple[int, ...] = (255, 255, 255)) -> np.ndarray:
    """A picture file to a square [s, s, 3] uint8 at its full size; turned upright, alpha laid down.

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
            picture = ImageOps.exif_transpose(_eight_bit(opened)).convert("RGBA")
    except UnidentifiedImageError:
        raise ValueError("no picture of a known format") from None
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"broken picture: {error}") from None
    ground = Image.new("RGBA", picture.size, (*background, 255))
    flat = Image.alpha_composite(ground, picture).convert("RGB")
    side = min(flat.size) if crop == "centre" else max(flat.size)
    left, top = (flat.width - side) // 2, (flat.height - side) // 2
    square = Image.new("RGB", (side, side), background)
    square.paste(flat, (-left, -top))
    return np.asarray(square)


def _eight_bit(picture: Image.Image) -> Image.Image:
    """Pillow clips 16-bit grey when it converts; scale it first. Other deep modes have no known range."""
    if picture.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(picture) / 257).round().astype(np.uint8))
    if picture.mode in ("I", "F"):
        raise ValueError(f"pixels of mode {picture.mode} have no known range: save it with 8 or 16 bits")
    return picture
