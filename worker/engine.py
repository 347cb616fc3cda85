"""Models in memory, and batches drawn with them. It knows neither Celery nor Redis."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from concurrent.futures import Future

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

LOAD_SECONDS = 30.0  # for a model; a cold disk may need some


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
        self._loads: dict[str, Future[Generator]] = {}  # under way
        self._lock = threading.Lock()

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
        """The model, loaded if it is not; raises ``ModelGoneError``, or ``TimeoutError``."""
        with self._lock:
            if digest in self._loaded:
                self._loaded.move_to_end(digest)
                return self._loaded[digest]
            if (load := self._loads.get(digest)) is None:
                load = self._loads[digest] = Future()
                threading.Thread(target=self._load, args=(model, digest, load), daemon=True).start()
        try:
            return load.result(LOAD_SECONDS)
        except TimeoutError:
            raise TimeoutError(f"model {model} has not loaded in {LOAD_SECONDS:g} s") from None

    def _load(self, model: str, digest: str, load: Future[Generator]) -> None:
        """In a thread of its own, which a folder that does not answer may keep; others go on."""
        try:
            generator = self._read(model, digest)
            with self._lock:
                MODEL_LOADS.inc()
                self._loaded[digest] = generator
                while len(self._loaded) > self.loaded_models:
                    self._loaded.popitem(last=False)
                MODELS_LOADED.set(len(self._loaded))
            load.set_result(generator)
        except BaseException as error:
            load.set_exception(error)
        finally:
            with self._lock:
                del self._loads[digest]

    def _read(self, model: str, digest: str) -> Generator:
        try:
            published = self.library.get(model)
        except KeyError:
            raise ModelGoneError(model) from None
        if published.digest != digest:
            raise ModelGoneError(model)
        return load_generator(published.folder)


def core_count(threads: int) -> int:
    """A setting of threads as a number: 0 stands for all cores this process may use."""
    if threads:
        return threads
    allowed = getattr(os, "sched_getaffinity", None)  # Linux only
    return len(allowed(0)) if allowed else os.cpu_count() or 1


def use_threads(threads: int) -> None:
    """Sets the CPU threads of PyTorch's own operations in this process."""
    torch.set_num_threads(core_count(threads))
