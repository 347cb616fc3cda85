"""Models in memory, and batches drawn with them. It knows neither Celery nor Redis."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from contract.arithmetic import identity
from contract.messages import Side
from contract.models import ModelLibrary
from model.checkpoint import load_generator
from model.generator import Generator
from model.painter import Crew
from model.rendering import Frame, Span, strips
from model.sampling import sample_tokens
from worker.arithmetic import kind_in_use
from worker.metrics import MODEL_LOADS, MODELS_LOADED, count_drawn, stage, staged


class ModelGoneError(Exception):
    """The model that was asked for is no longer the one on disk."""


class Engine:
    """Draws batches; several threads may ask at once, and ``threads`` share the tiles of a large image.

    A strip is painted as a whole before the next one is begun, so small images pass between the strips
    of a large one.
    """

    def __init__(self, library: ModelLibrary, threads: int = 1, loaded_models: int = 4) -> None:
        self.library = library
        self.crew = Crew(threads)
        self.loaded_models = loaded_models
        self.arithmetic = kind_in_use()
        self._loaded: OrderedDict[str, Generator] = OrderedDict()
        self._loading = threading.Lock()

    def identity(self, digest: str) -> str:
        """What files say that their bytes follow from."""
        return identity(digest, self.arithmetic)

    def draw(
        self, model: str, digest: str, seeds: Sequence[int], truncations: Sequence[float],
        columns: Side, rows: Side, first: int = 0,
    ) -> Iterator[np.ndarray]:  # fmt: skip
        """Strips [B, rows, width, 3] uint8 of all the batch's images, from the strip ``first`` on down.

        Raises ``ModelGoneError`` if no model of that name has that digest.
        """
        generator = self.generator(model, digest)
        with stage("tokens"):
            tokens = sample_tokens(generator, seeds, truncations)
        yield from self.paint(generator, tokens, columns, rows, first)

    def paint(
        self, generator: Generator, tokens: Tensor, columns: Side, rows: Side, first: int = 0
    ) -> Iterator[np.ndarray]:
        """The same from tokens [B, L, D]."""
        frame = Frame(*(Span.scaled(s.full, s.start, s.length, s.count) for s in (columns, rows)))
        for strip in staged("siren", strips(generator, tokens, frame, self.crew, first)):
            yield strip.numpy()
        count_drawn(len(tokens), columns.count * rows.count)

    def generator(self, model: str, digest: str) -> Generator:
        """The model, loaded if it is not; raises ``ModelGoneError``."""
        with self._loading:
            return self._generator(model, digest)

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
        MODEL_LOADS.inc()
        self._loaded[digest] = generator
        while len(self._loaded) > self.loaded_models:
            self._loaded.popitem(last=False)
        MODELS_LOADED.set(len(self._loaded))
        return generator


def core_count(threads: int) -> int:
    """A setting of threads as a number: 0 stands for all cores this process may use."""
    if threads:
        return threads
    allowed = getattr(os, "sched_getaffinity", None)  # Linux only
    return len(allowed(0)) if allowed else os.cpu_count() or 1


def use_threads(threads: int) -> None:
    """Sets the CPU threads of PyTorch's own operations in this process."""
    torch.set_num_threads(core_count(threads))
