from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from contract.messages import BEGINNING, COLOUR_PNG, Position, Side
from worker.encoders import encoder_for
from worker.png import Piece


def pieces(pixels: np.ndarray, strips: list[int], position: Position = BEGINNING) -> list[Piece]:
    height, width, _ = pixels.shape
    columns, rows = Side.whole(width), Side.whole(height)
    encoder = encoder_for("d1" * 32, 7, 0.5, columns, rows, COLOUR_PNG, position)
    parts = np.split(pixels, np.cumsum(strips)[:-1])
    first = position.strip
    return [*(encoder.strip(part) for part in parts[first:]), encoder.end()]


def encode(pixels: np.ndarray, strips: list[int]) -> bytes:
    return b"".join(piece.data for piece in pieces(pixels, strips))


@pytest.mark.parametrize(("width", "height", "strips"), [(1, 1, [1]), (7, 5, [2, 3]), (64, 48, [16, 16, 16])])
def test_a_decoder_gets_the_pixels_back(width: int, height: int, strips: list[int]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    with Image.open(io.BytesIO(encode(pixels, strips))) as image:
        assert image.mode == "RGB"
        assert np.array_equal(np.asarray(image), pixels)


def test_it_says_how_it_was_made() -> None:
    data = encode(np.zeros((4, 8, 3), np.uint8), [4])
    with Image.open(io.BytesIO(data)) as image:
        assert image.info == {
            "Software": "ViTGAN", "Seed": "7", "Model": "d1" * 32, "Resolution": "8x4", "Truncation": "0.5",
        }  # fmt: skip


def test_flat_areas_cost_next_to_nothing() -> None:
    white = encode(np.full((512, 512, 3), 255, np.uint8), [256, 256])
    assert len(white) < 0.01 * 512 * 512 * 3


def test_another_encoder_goes_on_at_any_strip() -> None:
    pixels = np.random.default_rng(0).integers(0, 3, (40, 30, 3), dtype=np.uint8)
    whole = pieces(pixels, [10] * 4)
    for number, piece in enumerate(whole):
        assert piece.strip == number
        rest = pieces(pixels, [10] * 4, Position(strip=number, adler=piece.adler))
        assert rest == whole[number:]
