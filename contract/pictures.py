"""Which files are pictures to train on: one rule for uploads and trainings, by content and place."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterable
from operator import index
from pathlib import PurePosixPath

from PIL import Image, UnidentifiedImageError

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")
MAX_BYTES = 64 * 2**20  # of one picture's file
MAX_PIXELS = 64_000_000  # of one picture; larger ones are left out before they are decoded
MIN_SIDE = 8  # of one picture in pixels; smaller ones show nothing
MIN_PICTURES = 32  # that differ; fewer are learned by heart
DECODER_BYTES = {"WEBP": 16, "JPEG": 12, "TIFF": 8}  # a pixel at most while such a file is decoded, measured
OTHER_BYTES = 4
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # zipfile unpacks the others without any bound
LABELS = "dataset.json"  # StyleGAN's name for it

_SYSTEM = {  # what file managers and file systems leave; names that begin with a dot are hidden anyway
    "__MACOSX", "@eaDir", "$RECYCLE.BIN", "System Volume Information", "lost+found", "Thumbs.db",
    "desktop.ini",
}  # fmt: skip


def left_out(names: Iterable[str]) -> dict[str, str]:
    """The files that nobody means by "my pictures", each with the reason.

    Those are hidden files, what file managers leave, and what trainings and evaluations have written.
    """
    paths = {name: PurePosixPath(name.replace("\\", "/")) for name in names}
    present = set(paths.values())
    runs = {path.parent for path in present if path.name == "training.json"}
    stores = {path.parent for path in present if path.name == "pixels.bin"}
    made = {folder for folder in runs if folder / "reals.png" in present}
    made |= {folder for folder in stores if folder / "index.json" in present}
    found = {}
    for name, path in paths.items():
        if any(part.startswith(".") or part in _SYSTEM for part in path.parts):
            found[name] = "hidden, or left by a file manager"
        elif made.intersection(path.parents):
            found[name] = "written by a training"
        elif path.name == "neighbours.png" and path.with_name("evaluation.json") in present:
            found[name] = "written by an evaluation"
    return found


def load_picture(data: bytes, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """A picture file, decoded; raises ``ValueError`` with the reason if it cannot be trained on."""
    picture = open_picture(data, max_pixels)
    decode(picture)
    return picture


def open_picture(data: bytes, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """A picture file, of which the head alone is read; raises ``ValueError`` as ``load_picture`` does."""
    if not data:
        raise ValueError("the file is empty")
    try:
        picture = Image.open(io.BytesIO(data), formats=FORMATS)
        width, height = picture.size
        if width * height > max_pixels:
            raise ValueError(f"{width}x{height} is over {max_pixels} pixels")
        if min(width, height) < MIN_SIDE:
            raise ValueError(f"{width}x{height} is too small: a side has at least {MIN_SIDE} pixels")
        if picture.mode in ("I", "F"):
            raise ValueError(f"pixels of mode {picture.mode} have no known range: save it with 8 or 16 bits")
    except UnidentifiedImageError:
        raise ValueError("no picture of a known format") from None
    except ValueError:
        raise
    except Exception as error:  # each of Pillow's formats has its own
        raise _broken(error) from None
    return picture


def decode(picture: Image.Image) -> None:
    """Reads all pixels of an open picture; raises ``ValueError`` if the file is broken."""
    try:
        picture.load()
    except Exception as error:  # each of Pillow's formats has its own
        raise _broken(error) from None


def decoder_bytes(picture: Image.Image) -> int:
    """Memory that ``decode`` takes for it at most."""
    return picture.width * picture.height * DECODER_BYTES.get(picture.format or "", OTHER_BYTES)


def _broken(error: Exception) -> ValueError:
    return ValueError(f"broken picture: {error or type(error).__name__}")


def label_files(names: Iterable[str]) -> list[str]:
    """The ``dataset.json`` of a set of pictures; of several, those that lie least deep."""
    found = [name for name in names if PurePosixPath(name).name == LABELS]
    least = min((name.count("/") for name in found), default=0)
    return [name for name in found if name.count("/") == least]


def parse_labels(data: bytes, name: str) -> dict[str, int]:
    """A class for each name, from a ``dataset.json`` as StyleGAN writes it; names as in its own folder's.

    Raises ``ValueError`` if the file holds no such list.
    """
    folder = PurePosixPath(name).parent
    try:
        listed = json.loads(data)["labels"] or []
        return {(folder / str(picture)).as_posix(): index(label) for picture, label in listed}
    except (ValueError, TypeError, KeyError, RecursionError):
        raise ValueError(
            f'{name} has no list of labels: give {{"labels": [["a.png", 3], ...]}} or take it out'
        ) from None


def class_folders(names: list[str]) -> list[int] | None:
    """A class for each picture by its folder, below the folders that all share; None if some lie in none."""
    folders = [PurePosixPath(name.replace("\\", "/")).parent.parts for name in names]
    first, last = min(folders, default=()), max(folders, default=())
    shared = 0
    while shared < min(len(first), len(last)) and first[shared] == last[shared]:
        shared += 1
    own = [folder[shared : shared + 1] for folder in folders]
    if not all(own):
        return None
    classes = {folder: number for number, folder in enumerate(sorted(set(own)))}
    return [classes[folder] for folder in own]
