"""Models in memory, and batches drawn with them. It knows neither Celery nor Redis."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence

import numpy as np
import torch

from contract.models import ModelLibrary
from model.checkpoint import load_generator
from model.generator import Generator
from model.rendering import strips
from model.sampling import sample_tokens


class ModelGoneError(Exception):
    """The model that was asked for is no longer the one on disk."""


class Engine:
    """Draws batches, one strip at a time under one lock, so that a huge image does not hold up small ones."""

    def __init__(self, library: ModelLibrary, loaded_models: int = 4) -> None:
        self.library = library
        self.loaded_models = loaded_models
        self._loaded: OrderedDict[str, Generator] = OrderedDict()
        self._turn = threading.Lock()

    def draw(
        self,
        model: str,
        digest: str,
        seeds: Sequence[int],
        truncations: Sequence[float],
        width: int,
        height: int,
    ) -> Iterator[np.ndarray]:
        """Strips [B, rows, width, 3] uint8 of all the batch's images, from top to bottom.

        Raises ``ModelGoneError`` if no model of that name has that digest.
        """
        with self._turn:
            generator = self._generator(model, digest)
            tokens = sample_tokens(generator, seeds, truncations)
        painting = strips(generator, tokens, width, height)
        while True:
            with self._turn:
                strip = next(painting, None)
            if strip is None:
                return
            yield strip.numpy()

    def _generator(self, model: str, digest: str) -> Generator:
        if digest in self._loaded:
            self._loaded.move_to_end(digest)
            return self._loaded[digest]
        try:
            published = self.library.get(model)
        except KeyError:
            raise ModelGoneError(model) from None
        if published.digest != digest:
            raise ModelGoneError(model)
        generator = load_generator(published.folder)
        self._loaded[digest] = generator
        while len(self._loaded) > self.loaded_models:
            self._loaded.popitem(last=False)
        return generator


def use_threads(count: int) -> None:
    """Sets the CPU threads of PyTorch in this process; 0 leaves its default, all cores."""
    if count:
        torch.set_num_threads(count)
