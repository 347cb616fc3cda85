"""Pictures to compare: a coloured rectangle on a coloured ground, drawn by a seed."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor


@pytest.fixture
def drawn() -> Callable[..., Tensor]:
    def draw(count: int, seed: int = 0, side: int = 32) -> Tensor:
        random = torch.Generator().manual_seed(seed)
        pictures = torch.empty(count, 3, side, side, dtype=torch.uint8)
        for picture in pictures:
            ground, colour = torch.randint(0, 256, (2, 3, 1, 1), generator=random, dtype=torch.uint8)
            left, top = torch.randint(0, side // 2, (2,), generator=random).tolist()
            width, height = torch.randint(side // 4, side // 2, (2,), generator=random).tolist()
            picture[:] = ground
            picture[:, top : top + height, left : left + width] = colour
        return pictures

    return draw
