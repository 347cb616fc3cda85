"""Frames to an animation: APNG frame by frame, WebP when the last one is there."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
from PIL import Image

from contract.messages import Walk
from worker.encoders import SAVE
from worker.png import LEVEL, Piece, chunk, filter_up, head


class ApngEncoder:
    """Animated PNG (PNG, third edition, W3C 2025), from any frame on; a frame is a piece.

    Each frame replaces the one before it, whole, and is compressed by itself.
    """

    def __init__(self, walk: Walk, text: dict[str, str], first: int = 0) -> None:
        self.walk, self.number = walk, first
        self.width, self.height = walk.columns.count, walk.rows.count
        plays = 0 if walk.loop else 1  # 0: without end
        animation = chunk(b"acTL", struct.pack(">II", walk.frames, plays))
        self._head = head(self.width, self.height, text) + animation

    def frame(self, pixels: np.ndarray) -> Piece:
        """The next frame [height, width, 3] uint8; the first one brings the head."""
        number = self.number
        self.number += 1
        # Sequence numbers: 0 for the first frame's control, then two a frame, control and data.
        sequence = max(0, 2 * number - 1)
        control = struct.pack(
            ">IIIIIHHBB", sequence, self.width, self.height, 0, 0, 1, self.walk.fps, 0, 0
        )  # at (0, 0), shown for 1 / fps seconds, kept, not blended
        data = zlib.compress(filter_up(pixels).data, LEVEL)
        if number == 0:
            told = self._head + chunk(b"fcTL", control) + chunk(b"IDAT", data)
        else:
            told = chunk(b"fcTL", control) + chunk(b"fdAT", struct.pack(">I", sequence + 1) + data)
        return Piece(number, 1, told)

    def end(self) -> Piece:
        """What closes it."""
        return Piece(self.number, 1, chunk(b"IEND", b""))


class WebpEncoder:
    """Animated WebP: its first bytes tell its length, so all frames are kept."""

    def __init__(self, walk: Walk) -> None:
        self.walk = walk
        self._frames: list[Image.Image] = []

    def frame(self, pixels: np.ndarray) -> Piece:
        """Kept; no bytes yet."""
        self._frames.append(Image.fromarray(pixels))
        return Piece(0, 1, b"")

    def end(self) -> Piece:
        """The whole file."""
        out = io.BytesIO()
        count, fps = self.walk.frames, self.walk.fps
        times = [round(1000 * (frame + 1) / fps) - round(1000 * frame / fps) for frame in range(count)]
        self._frames[0].save(
            out, "webp", save_all=True, append_images=self._frames[1:], duration=times,
            loop=0 if self.walk.loop else 1, **SAVE["webp"],
        )  # fmt: skip
        return Piece(0, 1, out.getvalue())
