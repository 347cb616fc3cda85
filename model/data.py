"""Training pictures: a folder or zip of them, decoded once to squares, read batch by batch."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import ImageColor
from torch import Tensor

from contract.pictures import FORMATS, MIN_PICTURES
from model.decoding import decode, sized
from model.source import Source, labels_of
from model.store import Progress, Store, open_or_build, store_folder
from model.views import View
from model.watch import unwritable

CROPS = ("centre", "pad")
Note = Callable[[str], None]


@dataclass(frozen=True)
class Pictures:
    """A training set: pictures [N, 3, s r, s r] uint8, and what was left out, with reasons."""

    images: Tensor | Store  # in memory, or mapped from a store
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
    on_note: Note = lambda note: None,
) -> Pictures:
    """Every readable picture below a folder or in a zip, as squares for that resolution.

    Decoded once into a store below the folder ``cache``. ``crop`` is "centre" (the middle square) or "pad"
    (all of the picture, on ``background``); transparent pixels are laid on ``background``, a name or
    #rrggbb. ``on_note`` is given sentences on what is made and what is left out.

    Raises ``ValueError`` if an argument is wrong, there is no room in the cache, or too few pictures differ.
    """
    side = resolution * oversample
    store = picture_store(
        source, side, cache, crop=crop, background=background, on_progress=on_progress, on_note=on_note
    )
    pictures = Pictures(store, resolution, store.skipped, store.labels)
    check_trainable(pictures)
    return pictures


def check_trainable(pictures: Pictures) -> None:
    """Raises ``ValueError`` if there are too few pictures to train on, or too few that differ."""
    if len(pictures) < MIN_PICTURES:
        raise ValueError(
            f"{MIN_PICTURES} pictures are the least to train on; the source holds {len(pictures)}"
            + _examples(pictures.skipped)
        )
    different = len(set(_crcs(pictures)))
    if different >= MIN_PICTURES:
        return
    first = np.asarray(pictures.pixels[0])
    if different == 1 and (first == first[:, :1, :1]).all():
        raise ValueError(
            "all pictures are one and the same colour, there is nothing to learn: give pictures that differ"
        )
    raise ValueError(
        f"{MIN_PICTURES} different pictures are the least to train on; of the {len(pictures)} in the source "
        f"only {different} differ at this size"
    )


def _crcs(pictures: Pictures) -> list[int]:
    if isinstance(pictures.images, Store):
        return [int(crc) for crc in pictures.images.crcs]
    return [zlib.crc32(picture.numpy().tobytes()) for picture in pictures.images]


def picture_store(
    source: Path,
    side: int,
    cache: Path,
    *,
    crop: str = "centre",
    background: str = "white",
    on_progress: Progress = lambda done, total: None,
    on_note: Note = lambda note: None,
) -> Store:
    """The store of that source at ``side`` pixels; built if there is none below ``cache`` that matches.

    Raises ``ValueError`` if an argument is wrong, the source holds no readable picture, or the store cannot
    be written.
    """
    if crop not in CROPS:
        raise ValueError(f"crop is {crop!r}: give {' or '.join(CROPS)}")
    try:
        colour = ImageColor.getrgb(background)[:3]
    except ValueError:
        raise ValueError(f"background is {background!r}: give a colour's name or #rrggbb") from None
    with Source(source) as files:
        listed = files.listed_labels()
        options = {"crop": crop, "background": colour, "side": side}
        folder = store_folder(cache, files.fingerprint(), options)
        count = len(files.names)

        def tell_size(size: int) -> None:
            on_note(f"decoding {count} files into {folder}: {size / 1e6:.1f} MB at most")

        try:
            squares = _squares(files, crop, colour, side)
            store = open_or_build(folder, squares, side, count, on_progress, tell_size)
        except OSError as error:  # those of the source are reasons, see Source.read
            raise ValueError(f"{unwritable(error)}: give another --cache") from error
    store.skipped = (*store.skipped, *files.left_out.items())
    if not len(store):
        raise ValueError(
            f"{source} holds no readable picture: give a folder or zip of {', '.join(FORMATS)}"
            + _examples(store.skipped)
        )
    store.labels = labels_of(store.names, listed)
    if listed and store.labels is None:
        missing = [name for name in store.names if name not in listed]
        on_note(
            f"labels are not kept: dataset.json has none for {len(missing)} pictures, such as {missing[0]}"
        )
    return store


def _squares(
    files: Source, crop: str, background: tuple[int, ...], side: int
) -> Iterator[tuple[str, np.ndarray | str]]:
    for name in files.names:
        try:
            yield name, sized(decode(files.read(name), crop, background), side)
        except Exception as error:  # one picture, whatever is wrong with it, does not end a training
            yield name, str(error) or type(error).__name__


def _examples(skipped: Sequence[tuple[str, str]]) -> str:
    """The first of the refused pictures, in brackets; nothing if there are none."""
    shown = "; ".join(f"{name}: {why}" for name, why in skipped[:3])
    return f" ({len(skipped)} refused: {shown})" if shown else ""
