"""How the service stands when Prometheus asks: this process, both Redises, the disk, the models."""

from __future__ import annotations

import contextlib
import shutil
import threading
from typing import Any

from redis import Redis, RedisError

from app.errors import ServiceError
from app.services import Services
from contract.census import Census, census
from contract.instruments import UNKNOWN, gauge
from contract.metrics import KINDS, MOST_MODELS, QUEUES
from contract.models import PublishedModel

GATHERING = gauge("vitgan_gathering_images")
ORDERS_OPEN = gauge("vitgan_orders_open")
ORDERS_OLDEST = gauge("vitgan_orders_oldest_seconds")
UNDER_WAY_IMAGES = gauge("vitgan_under_way_images")
UNDER_WAY_PIXELS = gauge("vitgan_under_way_pixels")
UNDER_WAY_IMAGES_LIMIT = gauge("vitgan_under_way_images_limit")
UNDER_WAY_PIXELS_LIMIT = gauge("vitgan_under_way_pixels_limit")

WORKERS = gauge("vitgan_workers")
OTHER_VERSIONS = gauge("vitgan_other_versions")
MESSAGES = gauge("vitgan_queue_messages")
JOBS = gauge("vitgan_jobs")
JOBS_OLDEST = gauge("vitgan_jobs_oldest_queued_seconds")
WEBHOOKS_DUE = gauge("vitgan_webhooks_due")
WEBHOOKS_DEAD = gauge("vitgan_webhooks_dead")

REDIS_UP = gauge("vitgan_redis_up")
REDIS_MEMORY = gauge("vitgan_redis_memory_bytes")
REDIS_MEMORY_LIMIT = gauge("vitgan_redis_memory_limit_bytes")
REDIS_CLIENTS = gauge("vitgan_redis_clients")

DATA_FREE = gauge("vitgan_data_free_bytes")
DATA_SIZE = gauge("vitgan_data_size_bytes")
DATA_WRITABLE = gauge("vitgan_data_writable")
MODELS = gauge("vitgan_models")
MODEL_INFO = gauge("vitgan_model_info")

one_at_a_time = threading.Lock()  # held while gauges are set and read


def look(use: Services) -> None:
    """Sets all of them; takes seconds while a Redis does not answer."""
    _look_here(use)
    _look_at_redis("bytes", use.fleet.bytes_redis)
    _look_at_redis("jobs", use.fleet.redis)
    _look_at_jobs(use.fleet.redis)
    _look_at_disk(use)
    _look_at_models(use)


def _look_here(use: Services) -> None:
    coalescer, load, settings = use.coalescer, use.gate.load, use.settings
    GATHERING.set(coalescer.gathering)
    ORDERS_OPEN.set(len(coalescer.sent))
    ORDERS_OLDEST.set(coalescer.oldest())
    UNDER_WAY_IMAGES.set(load.images)
    UNDER_WAY_PIXELS.set(load.pixels)
    UNDER_WAY_IMAGES_LIMIT.set(settings.max_waiting)
    UNDER_WAY_PIXELS_LIMIT.set(settings.max_waiting_pixels)


def _look_at_redis(name: str, redis: Redis) -> None:
    """Whether it answers, its memory and connections."""
    info: dict[str, Any] = {}
    with contextlib.suppress(RedisError):
        info = redis.info("memory") | redis.info("clients")
    REDIS_UP.labels(redis=name).set(bool(info))
    for one, field in (
        (REDIS_MEMORY, "used_memory"),
        (REDIS_MEMORY_LIMIT, "maxmemory"),
        (REDIS_CLIENTS, "connected_clients"),
    ):
        one.labels(redis=name).set(info.get(field, UNKNOWN))


def _look_at_jobs(redis: Redis) -> None:
    """What Redis knows of workers and jobs; NaN while it cannot be asked."""
    found: Census | None = None
    with contextlib.suppress(RedisError):
        found = census(redis)
    for queue in QUEUES:
        WORKERS.labels(queue=queue).set(found.workers[queue] if found else UNKNOWN)
        OTHER_VERSIONS.labels(queue=queue).set(found.others[queue] if found else UNKNOWN)
        MESSAGES.labels(queue=queue).set(found.messages[queue] if found else UNKNOWN)
    for kind in KINDS:
        JOBS.labels(kind=kind, state="queued").set(found.queued[kind] if found else UNKNOWN)
        JOBS.labels(kind=kind, state="running").set(found.running[kind] if found else UNKNOWN)
        JOBS_OLDEST.labels(kind=kind).set(found.oldest[kind] if found else UNKNOWN)
    WEBHOOKS_DUE.set(found.webhooks_due if found else UNKNOWN)
    WEBHOOKS_DEAD.set(found.webhooks_dead if found else UNKNOWN)


def _look_at_disk(use: Services) -> None:
    free = size = UNKNOWN
    for folder in (use.settings.data_dir, *use.settings.data_dir.absolute().parents):
        if folder.is_dir():
            size, _, free = shutil.disk_usage(folder)
            break
    DATA_WRITABLE.set(use.disk_error() is None)
    DATA_FREE.set(free)
    DATA_SIZE.set(size)


def _look_at_models(use: Services) -> None:
    models: list[PublishedModel] = []
    with contextlib.suppress(ServiceError):
        models = use.models()[0]
    MODELS.set(len(models))
    MODEL_INFO.clear()
    for model in models[:MOST_MODELS]:
        labels = {"model": model.name, "digest": model.short_digest, "preset": str(model.config["preset"])}
        MODEL_INFO.labels(**labels).set(1)
