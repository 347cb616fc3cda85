"""What a training worker tells of its training, from the reports that the training prints."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from contract.instruments import UNKNOWN, counter, gauge

RUNNING = gauge("vitgan_training_running")
ATTEMPTS = counter("vitgan_training_attempts_total")
ENDS = counter("vitgan_training_ends_total")
REPORTED = gauge("vitgan_training_report_timestamp_seconds", UNKNOWN)
SEEN = gauge("vitgan_training_images_seen", UNKNOWN)
WANTED = gauge("vitgan_training_images_wanted", UNKNOWN)
LOSS = gauge("vitgan_training_loss", UNKNOWN)
LOGIT = gauge("vitgan_training_logit", UNKNOWN)
WARNING = gauge("vitgan_training_warning", UNKNOWN)

AS_REPORTED = {
    "images_per_second": gauge("vitgan_training_images_per_second", UNKNOWN),
    "eta_seconds": gauge("vitgan_training_eta_seconds", UNKNOWN),
    "loss_g": LOSS.labels(part="generator"),
    "loss_d": LOSS.labels(part="discriminator"),
    "consistency": LOSS.labels(part="consistency"),
    "logit_real": LOGIT.labels(pictures="real"),
    "logit_fake": LOGIT.labels(pictures="fake"),
    "spread": gauge("vitgan_training_spread_ratio", UNKNOWN),
    "augment_probability": gauge("vitgan_training_augmented_ratio", UNKNOWN),
    "signs": gauge("vitgan_training_sign", UNKNOWN),
    "right": gauge("vitgan_training_right_ratio", UNKNOWN),
    "distance": gauge("vitgan_training_distance", UNKNOWN),
    "learning_rate": gauge("vitgan_training_learning_rate", UNKNOWN),
    "data_wait": gauge("vitgan_training_data_wait_ratio", UNKNOWN),
    "memory_bytes": gauge("vitgan_training_memory_bytes", UNKNOWN),
}


@contextmanager
def training_told() -> Iterator[None]:
    """Around a training: while none runs, nothing is told of one."""
    ATTEMPTS.inc()
    RUNNING.set(1)
    REPORTED.set(time.time())
    try:
        yield
    finally:
        RUNNING.set(0)
        for one in (REPORTED, SEEN, WANTED, WARNING, *AS_REPORTED.values()):
            one.set(UNKNOWN)


def tell(report: dict[str, Any]) -> None:
    """One line of the training's, as model/progress.py has them."""
    REPORTED.set(time.time())
    SEEN.set(1000 * report.get("kimg", UNKNOWN))
    WANTED.set(1000 * report.get("total_kimg", UNKNOWN))
    WARNING.set(bool(report.get("warning")))
    for name, one in AS_REPORTED.items():
        value = report.get(name)
        one.set(UNKNOWN if value is None else value)
