"""One picture file to a square: deep modes to 8 bits, turned upright, alpha laid on the background."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageOps

from contract.pictures import load_picture

_BITS, _MEANING = 258, 262  # TIFF: bits per sample; what 0 means
_ORIENTATION = 0x0112  # EXIF


def decode(data: bytes, crop: str = "centre", background: tuple[int, ...] = (255, 255, 255)) -> np.ndarray:
    """A picture file to a square [s, s, 3] uint8 at its full size.

    Raises ``ValueError`` with the reason if it is no picture, broken, too large or too small.
    """
    opened = load_picture(data)
    picture = _with_alpha(opened, data)
    picture.getexif()[_ORIENTATION] = opened.getexif().get(_ORIENTATION, 1)  # a converted picture has lost it
    picture = ImageOps.exif_transpose(picture)
    ground = Image.new("RGBA", picture.size, (*background, 255))
    flat = Image.alpha_composite(ground, picture).convert("RGB")
    side = min(flat.size) if crop == "centre" else max(flat.size)
    left, top = (flat.width - side) // 2, (flat.height - side) // 2
    square = Image.new("RGB", (side, side), background)
    square.paste(flat, (-left, -top))
    return np.asarray(square)


def sized(square: np.ndarray, side: int) -> np.ndarray:
    """A square [s, s, 3] at another size (Lanczos): [3, side, side]."""
    image = Image.fromarray(square)
    if image.width != side:
        image = image.resize((side, side), Image.Resampling.LANCZOS)
    return np.asarray(image).transpose(2, 0, 1)


def _with_alpha(picture: Image.Image, data: bytes) -> Image.Image:
    """To RGBA of 8 bits. Pillow clips 16-bit grey, and compares a PNG's transparent colour unscaled."""
    key = picture.info.get("transparency")
    if picture.mode.startswith("I;16"):
        return _of_deep_grey(picture, key)
    if picture.format == "PNG" and key is not None:
        depth = data[24]  # of IHDR, the first chunk
        if picture.mode == "L" and depth < 8:
            picture.info["transparency"] = key * 255 // (2**depth - 1)
        elif picture.mode == "RGB" and depth == 16:
            picture.info["transparency"] = tuple(value >> 8 for value in key)
    return picture.convert("RGBA")


def _of_deep_grey(picture: Image.Image, key: object) -> Image.Image:
    deep = np.asarray(picture)
    tags = getattr(picture, "tag_v2", {})  # of a TIFF
    most = 4095 if tags.get(_BITS) == (12,) else 65535
    grey = (deep * (255 / most)).round().clip(0, 255).astype(np.uint8)
    if tags.get(_MEANING) == 0:  # white
        grey = 255 - grey
    rgba = Image.fromarray(grey).convert("RGBA")
    if isinstance(key, int):
        rgba.putalpha(Image.fromarray(np.where(deep == key, 0, 255).astype(np.uint8)))
    return rgba
