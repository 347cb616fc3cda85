"""What an IIIF Image API 3.0 URL asks of a square image: {region}/{size}/{rotation}/{quality}.{format}.

https://iiif.io/api/image/3.0/: the parameters are applied in the order in which they stand. Read strictly:
what the standard does not know, or this service does not offer, is refused with 400 and a sentence.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from app.errors import BadRequest, short
from contract.messages import Form, Side

CONTEXT = "http://iiif.io/api/image/3/context.json"
PROFILE = "http://iiif.io/api/image/3/level2.json"
FORMATS = {"png": "png", "jpg": "jpeg", "webp": "webp"}
QUALITIES = ("default", "color", "gray", "bitonal")
MAX_EDGE = 16_383  # of a WebP, so of every image: formats can be changed without a surprise
TILE = 256
SIZES = (64, 128, 256, 512, 1024)  # of the whole that clients may prefer

_NUMBER = r"(?:[0-9]{1,9}(?:\.[0-9]{1,9})?|\.[0-9]{1,9})"
_ROTATION = re.compile(rf"(!?)({_NUMBER})")


@dataclass(frozen=True)
class Limits:
    """What one answer may have at most."""

    area: int  # pixels
    edge: int = MAX_EDGE  # pixels of a side

    def fit(self, width: Fraction, height: Fraction) -> Fraction:
        """What to multiply both sides by to be as large as the limits let them."""
        root = Fraction(math.isqrt(math.floor(self.area * 2**64 / (width * height))), 2**32)
        return min(Fraction(self.edge) / max(width, height), root)


@dataclass(frozen=True)
class Rectangle:
    """A region in pixels of the full image."""

    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True)
class Request:
    """One image, read from its URL; ``canonical`` is the standard's one way to write it."""

    region: Rectangle
    width: int  # before it is turned
    height: int
    form: Form
    canonical: str

    def sides(self, full: int) -> tuple[Side, Side]:
        """What is drawn of each axis."""
        region = self.region
        return (
            Side(full=full, start=region.x, length=region.width, count=self.width),
            Side(full=full, start=region.y, length=region.height, count=self.height),
        )


def read(region: str, size: str, rotation: str, file: str, full: int, limits: Limits) -> Request:
    """The parameters as they stand in the URL, decoded; raises ``BadRequest``."""
    rectangle = read_region(region, full)
    width, height = read_size(size, rectangle, limits)
    mirrored, degrees = read_rotation(rotation)
    quality, _, suffix = file.partition(".")
    if quality not in QUALITIES:
        raise BadRequest(f"quality: {short(quality)!r}, choose from {', '.join(QUALITIES)}")
    if suffix not in FORMATS:
        raise BadRequest(f"format: {short(suffix)!r}, choose from {', '.join(FORMATS)}")
    form = Form.model_validate(
        {
            "format": FORMATS[suffix],
            "quality": "color" if quality == "default" else quality,
            "mirrored": mirrored,
            "rotation": degrees,
        }
    )
    canonical = "/".join(
        (
            _canonical_region(rectangle, full),
            _canonical_size(width, height, rectangle, limits),
            f"{'!' if mirrored else ''}{degrees}",
            f"{'default' if quality == 'color' else quality}.{suffix}",
        )
    )
    return Request(rectangle, width, height, form, canonical)


def read_region(text: str, full: int) -> Rectangle:
    """full, square, x,y,w,h or pct:x,y,w,h, cut off at the image's edge; raises ``BadRequest``."""
    if text in ("full", "square"):  # the image is square
        return Rectangle(0, 0, full, full)
    given = text.removeprefix("pct:")
    parts = given.split(",")
    form = _NUMBER if given != text else r"[0-9]{1,9}"
    if len(parts) != 4 or not all(re.fullmatch(form, part) for part in parts):
        raise BadRequest(f"region: {short(text)!r}, give full, square, x,y,w,h or pct:x,y,w,h")
    values = [Fraction(part) * (Fraction(full, 100) if given != text else 1) for part in parts]
    x, y, width, height = (math.floor(value + Fraction(1, 2)) for value in values)
    width, height = min(width, full - x), min(height, full - y)
    if width < 1 or height < 1:
        raise BadRequest(f"region: {short(text)!r} has no pixel inside of the {full}x{full} image")
    return Rectangle(x, y, width, height)


def read_size(text: str, region: Rectangle, limits: Limits) -> tuple[int, int]:
    """Width and height that the region is scaled to; raises ``BadRequest``.

    max, w, ,h pct:n w,h and !w,h, each with ^ before it if it may be finer than the full image.
    """
    wide, high = Fraction(region.width), Fraction(region.height)
    form = text.removeprefix("^")
    larger = form != text
    best = limits.fit(wide, high) if larger else min(limits.fit(wide, high), Fraction(1))
    if form == "max":
        width = min(max(1, int(wide * best)), limits.area)
        return width, min(max(1, int(high * best)), limits.area // width)  # of the thinnest regions too
    if match := re.fullmatch(rf"pct:({_NUMBER})", form):
        scale = Fraction(match[1]) / 100
        width, height = _nearest(wide * scale), _nearest(high * scale)
    elif match := re.fullmatch(r"!([0-9]{1,9}),([0-9]{1,9})", form):
        scale = min(int(match[1]) / wide, int(match[2]) / high, best)
        whole = math.floor if scale == best else _nearest  # within the limits, whatever is rounded
        width, height = whole(wide * scale), whole(high * scale)
    elif (match := re.fullmatch(r"([0-9]{1,9})?,([0-9]{1,9})?", form)) and form != ",":
        width = int(match[1]) if match[1] else _nearest(int(match[2]) * wide / high)
        height = int(match[2]) if match[2] else _nearest(int(match[1]) * high / wide)
    else:
        raise BadRequest(f"size: {short(text)!r}, give max, w, ,h pct:n w,h or !w,h, or one of them after ^")
    if width < 1 or height < 1:
        raise BadRequest(f"size: {short(text)!r} is {width}x{height} pixels, each side must have 1 or more")
    if not larger and (width > region.width or height > region.height):
        raise BadRequest(
            f"size: {short(text)!r} is {width}x{height}, larger than the region's "
            f"{region.width}x{region.height}: ask for ^{short(text)}"
        )
    if max(width, height) > limits.edge or width * height > limits.area:
        raise BadRequest(
            f"size: {short(text)!r} is {width}x{height}, at most {limits.edge} a side "
            f"and {limits.area} pixels are drawn"
        )
    return width, height


def is_fixed(size: str) -> bool:
    """Whether that size is the same under all limits of a service."""
    return "max" not in size and "!" not in size


def read_rotation(text: str) -> tuple[bool, int]:
    """Whether to mirror, and degrees clockwise; raises ``BadRequest``."""
    match = _ROTATION.fullmatch(text)
    if not match or Fraction(match[2]) not in (0, 90, 180, 270, 360):
        raise BadRequest(
            f"rotation: {short(text)!r}, give 0, 90, 180 or 270, or one of them after ! to mirror first"
        )
    return bool(match[1]), int(Fraction(match[2])) % 360


def information(address: str, full: int, limits: Limits) -> dict[str, Any]:
    """What info.json says of the image whose base URI is ``address``."""
    levels = (full // TILE).bit_length()
    return {
        "@context": CONTEXT,
        "id": address,
        "type": "ImageService3",
        "protocol": "http://iiif.io/api/image",
        "profile": "level2",
        "width": full,
        "height": full,
        "maxWidth": limits.edge,
        "maxHeight": limits.edge,
        "maxArea": limits.area,
        "sizes": [
            {"width": side, "height": side} for side in SIZES if side <= full and side**2 <= limits.area
        ],
        "tiles": [
            {"width": TILE, "height": TILE, "scaleFactors": [2**level for level in range(levels or 1)]}
        ],
        "preferredFormats": ["webp", "png"],
        "extraFormats": ["webp"],
        "extraQualities": ["color", "gray", "bitonal"],
        "extraFeatures": ["mirroring", "sizeUpscaling", "canonicalLinkHeader", "profileLinkHeader"],
    }


def _nearest(value: Fraction) -> int:
    return math.floor(value + Fraction(1, 2))


def _canonical_region(region: Rectangle, full: int) -> str:
    if (region.width, region.height) == (full, full):
        return "full"
    return f"{region.x},{region.y},{region.width},{region.height}"


def _canonical_size(width: int, height: int, region: Rectangle, limits: Limits) -> str:
    if (width, height) == read_size("max", region, limits):
        return "max"
    larger = width > region.width or height > region.height
    if larger and (width, height) == read_size("^max", region, limits):
        return "^max"
    return f"{'^' if larger else ''}{width},{height}"
