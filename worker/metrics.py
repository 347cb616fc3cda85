"""What an image worker counts, and the time of its orders by stage; see contract/metrics.py."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

from contract.instruments import counter, gauge, histogram
from contract.traces import tell_spans

STAGE_SECONDS = histogram("vitgan_worker_stage_seconds")
ORDERS = counter("vitgan_worker_orders_total")
IMAGES = counter("vitgan_worker_images_total")
PIXELS = counter("vitgan_worker_pixels_total")
BATCH_IMAGES = histogram("vitgan_worker_batch_images")
SLOTS = gauge("vitgan_worker_slots")
SLOTS_BUSY = gauge("vitgan_worker_slots_busy")
MODELS_LOADED = gauge("vitgan_worker_models_loaded")
MODEL_LOADS = counter("vitgan_worker_model_loads_total")
JOBS = counter("vitgan_worker_jobs_total")

Item = TypeVar("Item")

_spent: ContextVar[dict[str, float] | None] = ContextVar("spent", default=None)


@contextmanager
def order_timed(queue_seconds: float, traces: Iterable[str]) -> Iterator[None]:
    """Around an order, in every thread that shares its context: observes each stage that it went through.

    Stages of one order overlap where a thread works ahead, so they may add up to more than its time. In
    each of the ``traces`` that its images belong to, its span tells them too.
    """
    spent, started = {"queue": max(0.0, queue_seconds)}, time.perf_counter()
    token = _spent.set(spent)
    try:
        yield
    finally:
        _spent.reset(token)
        for name, seconds in spent.items():
            STAGE_SECONDS.labels(stage=name).observe(seconds)
        stages = {f"vitgan.{name}_seconds": seconds for name, seconds in spent.items()}
        tell_spans("draw", traces, time.perf_counter() - started, **stages)


@contextmanager
def stage(name: str) -> Iterator[None]:
    """Around a part of that stage; of no order it is not counted."""
    spent = _spent.get()
    if spent is None:
        yield
        return
    started = time.perf_counter()
    try:
        yield
    finally:
        spent[name] = spent.get(name, 0.0) + time.perf_counter() - started


def staged(name: str, items: Iterator[Item]) -> Iterator[Item]:
    """The same items; the time that it takes to make them is that stage's."""
    while True:
        with stage(name):
            item = next(items, None)
        if item is None:
            return
        yield item


def count_drawn(images: int, pixels: int) -> None:
    """So many images were drawn together, of so many pixels each."""
    IMAGES.inc(images)
    PIXELS.inc(images * pixels)
    BATCH_IMAGES.observe(images)
