"""What images have in common while they wait, and the order that a worker gets of them."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from contract.arithmetic import PORTABLE
from contract.messages import (
    BEGINNING,
    COLOUR_PNG,
    Composition,
    Form,
    Grid,
    ImageBatch,
    ImageItem,
    Position,
    Side,
    Walk,
)

BATCH_PIXELS = 2**22  # of all images of a batch
ALONE_PIXELS = 2**18  # a larger image is a batch of its own: it needs credits, and must wait for no other


@dataclass(frozen=True)
class Shape:
    """What the images of a batch share."""

    model: str
    digest: str
    columns: Side
    rows: Side
    form: Form = COLOUR_PNG
    arithmetic: str = PORTABLE

    @property
    def pixels(self) -> int:
        """Of one image."""
        return self.columns.count * self.rows.count

    @property
    def alone(self) -> bool:
        """Whether each is a batch of its own, and keeps one of a worker's slots while it is sent."""
        return self.pixels > ALONE_PIXELS

    def full(self, max_batch: int) -> int:
        """Images of one batch at most."""
        return 1 if self.alone else min(max_batch, BATCH_PIXELS // self.pixels)

    def order(self, items: Sequence[ImageItem], position: Position = BEGINNING, **address: Any) -> ImageBatch:
        """What a worker is told."""
        return ImageBatch(
            id=uuid.uuid4().hex, model=self.model, digest=self.digest, columns=self.columns, rows=self.rows,
            arithmetic=self.arithmetic, form=self.form, items=tuple(items), position=position, **address,
        )  # fmt: skip


@dataclass(frozen=True)
class Whole:
    """One file of several seeds; it waits as one item and is drawn with nothing else."""

    model: str
    digest: str
    what: Grid | Walk
    arithmetic: str = PORTABLE
    alone = True

    @property
    def pixels(self) -> int:
        """Of all that is drawn."""
        return self.what.pixels

    def full(self, max_batch: int) -> int:
        """One."""
        return 1

    def order(
        self, items: Sequence[ImageItem], position: Position = BEGINNING, **address: Any
    ) -> Composition:
        """What a worker is told."""
        return Composition(
            id=items[0].id, model=self.model, digest=self.digest, arithmetic=self.arithmetic, what=self.what,
            position=position, request=items[0].request, trace=items[0].trace, **address,
        )  # fmt: skip


Key = Shape | Whole
