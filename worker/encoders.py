"""Pixels to files: PNG as it is painted, everything else when the last row is there."""

from __future__ import annotations

import io
from typing import Protocol

import numpy as np
from PIL import Image

from contract.messages import BEGINNING, Form, Position, Side
from worker.png import Piece, PngEncoder

# Settings of the lossy formats are part of what gives the same bytes: change them with BYTES_VERSION.
SAVE = {
    "png": {"compress_level": 6},
    "webp": {"quality": 90, "method": 4},
    "jpeg": {"quality": 90, "subsampling": 0},
}


class Encoder(Protocol):
    """Fed from top to bottom, gives bytes as they come."""

    def strip(self, rows: np.ndarray) -> Piece:
        """The next rows [rows, width, 3] uint8."""

    def end(self) -> Piece:
        """What closes the file."""


def encoder_for(
    model: str, seed: int, truncation: float, columns: Side, rows: Side, form: Form,
    position: Position = BEGINNING,
) -> Encoder:  # fmt: skip
    """The encoder of one image, from ``position`` on; a PNG says of its making what draws it again.

    ``model`` is the digest, with the kind of arithmetic unless it is portable.
    """
    if not form.streamed:
        return WholeEncoder(form)
    text = {
        "Software": "ViTGAN",
        "Seed": str(seed),
        "Model": model,
        "Resolution": f"{columns.full}x{rows.full}",
        "Truncation": repr(float(truncation)),
    }
    if any(side.length < side.full for side in (columns, rows)):
        text["Region"] = f"{columns.start},{rows.start},{columns.length},{rows.length}"
    return PngEncoder(columns.count, rows.count, text, position.strip, position.adler)


class WholeEncoder:
    """Keeps all rows, then turns, colours and encodes them."""

    def __init__(self, form: Form) -> None:
        self.form = form
        self._rows: list[np.ndarray] = []

    def strip(self, rows: np.ndarray) -> Piece:
        """Kept; no bytes yet."""
        self._rows.append(rows)
        return Piece(0, 1, b"")

    def end(self) -> Piece:
        """The whole file."""
        image = Image.fromarray(formed(np.concatenate(self._rows), self.form))
        if self.form.quality == "bitonal":
            image = image.convert("1", dither=Image.Dither.NONE)
        out = io.BytesIO()
        image.save(out, self.form.format, **SAVE[self.form.format])
        return Piece(0, 1, out.getvalue())


def formed(pixels: np.ndarray, form: Form) -> np.ndarray:
    """[h, w, 3] mirrored, turned clockwise, then made grey [h, w] if the form says so."""
    if form.mirrored:
        pixels = pixels[:, ::-1]
    pixels = np.rot90(pixels, -form.rotation // 90)
    if form.quality != "color":  # luma of ITU-R BT.601, as JPEG has it
        grey = pixels.astype(np.uint32) @ np.array([299, 587, 114], np.uint32)
        pixels = ((grey + 500) // 1000).astype(np.uint8)
    return np.ascontiguousarray(pixels)
