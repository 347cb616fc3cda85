"""Every metric of the service, in one table.

The objects that count are made of it where they are used (contract/instruments.py), docs/metrics.md is
written of it (scripts/metrics-page), and tests hold /metrics, dashboards and alerts to it. Labels have closed
sets of values, or a sentence that says what bounds them: nothing that a client chooses adds a series.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from contract.queue import DOORBELLS, GENERATE, TRAIN


class Kind(StrEnum):
    """As Prometheus has them."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


API, WORKER, TRAINER = ROOMS = ("api", "worker", "trainer")  # the processes that export


@dataclass(frozen=True)
class Metric:
    """One metric, under the name that it is exported by."""

    name: str
    kind: Kind
    rooms: tuple[str, ...]
    unit: str  # a base unit, or what is counted
    help: str
    labels: Mapping[str, tuple[str, ...] | str] = field(default_factory=dict)  # values, or what bounds them
    buckets: tuple[float, ...] = ()


# A thousandth of a second is the overhead of a request, a minute the longest that a client waits.
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
IMAGES = (1, 2, 4, 8, 16, 32)  # of a batch; 32 is the most unless set otherwise

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "other")
STAGES = ("queue", "tokens", "siren", "encode", "reply", "credit")
QUEUES = (GENERATE, TRAIN)
KINDS = tuple(DOORBELLS)  # of jobs
REDISES = ("jobs", "bytes")
REASONS = (
    "bad_request", "client_left", "conflict", "disk_full", "forbidden", "images_waiting", "internal",
    "invalid", "jobs_waiting", "method", "model_replaced", "no_answer", "no_worker", "not_found",
    "not_queued", "other", "pixels_waiting", "quota_datasets", "quota_images", "quota_job_pixels",
    "quota_jobs", "quota_pixels", "quota_uploads", "redis_away", "slow_body", "stopping", "too_large",
    "unauthorized", "uploads_waiting",
)  # fmt: skip
MOST_MODELS = 100


def _counter(name: str, unit: str, told: str, *rooms: str, **labels: tuple[str, ...] | str) -> Metric:
    return Metric(name, Kind.COUNTER, rooms, unit, told, labels)


def _gauge(name: str, unit: str, told: str, *rooms: str, **labels: tuple[str, ...] | str) -> Metric:
    return Metric(name, Kind.GAUGE, rooms, unit, told, labels)


def _histogram(
    name: str, unit: str, told: str, room: str, buckets: tuple[float, ...], **labels: tuple[str, ...] | str
) -> Metric:
    return Metric(name, Kind.HISTOGRAM, (room,), unit, told, labels, buckets)


_ROUTE = "templates of the API's routes, and `other` for all else"

_OF_HTTP = (
    _counter("vitgan_http_requests_total", "requests", "Requests answered", API,
             route=_ROUTE, method=METHODS, code="status codes that the API sends"),
    _histogram("vitgan_http_request_seconds", "seconds",
               "From a request's head to the last byte of its answer", API, SECONDS, route=_ROUTE),
    _gauge("vitgan_http_requests_in_progress", "requests", "Requests being answered", API),
    _counter("vitgan_http_answers_cut_total", "answers", "Answers that ended before they were whole, by whom",
             API, by=("service", "client")),
    _counter("vitgan_http_sent_bytes_total", "bytes", "Bytes of all answers' bodies", API),
    _counter("vitgan_refusals_total", "requests", "Requests refused or failed", API, reason=REASONS),
)  # fmt: skip

_OF_IMAGES = (
    _histogram("vitgan_image_answer_seconds", "seconds",
               "From a valid request to its image's first byte", API, SECONDS),
    _counter("vitgan_images_sent_total", "images", "Images sent, or begun to be sent", API),
    _counter("vitgan_image_pixels_sent_total", "pixels", "Pixels of those images", API),
    _histogram("vitgan_batch_images", "images", "Images of an order, as the API sends them to a worker",
               API, IMAGES),
    _gauge("vitgan_gathering_images", "images", "Images that wait here to be sent to a worker", API),
    _gauge("vitgan_orders_open", "orders", "Orders that a worker has not begun to answer", API),
    _gauge("vitgan_orders_oldest_seconds", "seconds", "Age of the oldest of them; 0 if there is none", API),
    _counter("vitgan_orders_rescued_total", "orders", "Orders asked for again: a worker was lost", API),
    _counter("vitgan_images_carried_on_total", "images",
             "Images whose rest another worker was asked for", API),
    _gauge("vitgan_under_way_images", "images", "Images under way in the whole service", API),
    _gauge("vitgan_under_way_pixels", "pixels", "Pixels of those images", API),
    _gauge("vitgan_under_way_images_limit", "images", "VITGAN_MAX_WAITING: more are refused", API),
    _gauge("vitgan_under_way_pixels_limit", "pixels", "VITGAN_MAX_WAITING_PIXELS: more are refused", API),
)  # fmt: skip

_OF_JOBS = (
    _gauge("vitgan_workers", "processes", "Workers that beat", API, queue=QUEUES),
    _gauge("vitgan_other_versions", "versions", "Versions of workers that beat, but are not asked", API,
           queue=QUEUES),
    _gauge("vitgan_queue_messages", "messages", "Length of Celery's list", API, queue=QUEUES),
    _gauge("vitgan_jobs", "jobs", "Jobs that have not ended", API, kind=KINDS, state=("queued", "running")),
    _gauge("vitgan_jobs_oldest_queued_seconds", "seconds",
           "Age of the oldest queued job; 0 if there is none", API, kind=KINDS),
    _counter("vitgan_leases_expired_total", "jobs", "Jobs taken from workers that were lost", API),
    _counter("vitgan_doorbells_rung_again_total", "messages", "Doorbells rung as nobody claimed", API),
    _counter("vitgan_webhooks_total", "deliveries", "Deliveries that were tried, by what came of it", API,
             outcome=("delivered", "failed", "dead")),
    _gauge("vitgan_webhooks_due", "webhooks", "Ends of jobs that are still to be told", API),
    _gauge("vitgan_webhooks_dead", "webhooks", "Deliveries given up, the last thousand", API),
    _gauge("vitgan_event_readers", "clients", "Clients that read a job's events now", API),
)  # fmt: skip

_OF_THE_HOUSE = (
    _gauge("vitgan_redis_up", "0 or 1", "Whether that Redis answers", API, redis=REDISES),
    _gauge("vitgan_redis_memory_bytes", "bytes", "Memory that it uses", API, redis=REDISES),
    _gauge("vitgan_redis_memory_limit_bytes", "bytes", "Its maxmemory; 0 if it has none", API, redis=REDISES),
    _gauge("vitgan_redis_clients", "connections", "Its connections", API, redis=REDISES),
    _gauge("vitgan_data_free_bytes", "bytes", "Room left where VITGAN_DATA_DIR lies", API),
    _gauge("vitgan_data_size_bytes", "bytes", "Size of the file system there", API),
    _gauge("vitgan_data_writable", "0 or 1", "Whether a file can be written there", API),
    _gauge("vitgan_models", "models", "Models that can be drawn with", API),
    _gauge("vitgan_model_info", "1", "A model that can be drawn with", API,
           model=f"names of models, {MOST_MODELS} at most", digest="one a model", preset="one a model"),
    _gauge("vitgan_build_info", "1", "What runs", *ROOMS, version="one a process", python="one a process"),
)  # fmt: skip

_OF_WORKERS = (
    _histogram("vitgan_worker_stage_seconds", "seconds",
               "An order's time in a stage; stages may overlap", WORKER, SECONDS, stage=STAGES),
    _counter("vitgan_worker_orders_total", "orders", "Orders taken, by what came of them", WORKER,
             outcome=("drawn", "late", "model_gone", "client_gone", "redis_away", "stopping", "failed")),
    _counter("vitgan_worker_images_total", "images", "Images drawn, frames of animations too", WORKER),
    _counter("vitgan_worker_pixels_total", "pixels", "Pixels of those images", WORKER),
    _histogram("vitgan_worker_batch_images", "images", "Images drawn in one forward pass", WORKER, IMAGES),
    _gauge("vitgan_worker_slots", "slots", "VITGAN_SLOTS: orders that it holds at a time", WORKER),
    _gauge("vitgan_worker_slots_busy", "slots", "Orders that it holds now", WORKER),
    _gauge("vitgan_worker_models_loaded", "models", "Models in its memory", WORKER),
    _counter("vitgan_worker_model_loads_total", "models", "Models loaded from disk", WORKER),
    _counter("vitgan_worker_jobs_total", "jobs", "Drawing jobs claimed, by what came of them", WORKER,
             outcome=("succeeded", "failed", "stopped", "released", "redis_away")),
)  # fmt: skip

# While no training runs, what is told of one is NaN, which draws no line and fires no alert.
_OF_TRAININGS = (
    _gauge("vitgan_training_running", "0 or 1", "Whether a training runs", TRAINER),
    _counter("vitgan_training_attempts_total", "jobs", "Trainings claimed", TRAINER),
    _counter("vitgan_training_ends_total", "jobs", "Claims that ended, by what came of them", TRAINER,
             outcome=("succeeded", "failed", "cancelled", "released", "lost", "killed", "redis_away")),
    _gauge("vitgan_training_report_timestamp_seconds", "seconds",
           "Unix time of the last report, or of the start", TRAINER),
    _gauge("vitgan_training_images_seen", "images", "Pictures seen by the discriminator", TRAINER),
    _gauge("vitgan_training_images_wanted", "images", "Pictures after which the training ends", TRAINER),
    _gauge("vitgan_training_images_per_second", "images a second", "Speed since it started", TRAINER),
    _gauge("vitgan_training_eta_seconds", "seconds", "Time left at that speed", TRAINER),
    _gauge("vitgan_training_loss", "nats", "Losses; a blind discriminator has 1.386, its generator 0.693",
           TRAINER, part=("generator", "discriminator", "consistency")),
    _gauge("vitgan_training_logit", "logits", "Mean of the discriminator's answers", TRAINER,
           pictures=("real", "fake")),
    _gauge("vitgan_training_spread_ratio", "ratio",
           "Standard deviation over seeds, of the whole range; near 0 all are one picture", TRAINER),
    _gauge("vitgan_training_augmented_ratio", "ratio", "Share p of pictures that are augmented", TRAINER),
    _gauge("vitgan_training_sign", "-1 to 1",
           "Mean sign r_t of the discriminator's answers to augmented real pictures; 1: it knows each",
           TRAINER),
    _gauge("vitgan_training_right_ratio", "ratio",
           "Share of real and generated pictures that the discriminator judges right; 0.5: it guesses",
           TRAINER),
    _gauge("vitgan_training_distance", "thousandths",
           "Sliced Wasserstein distance to the pictures, at the last tick", TRAINER),
    _gauge("vitgan_training_learning_rate", "1", "Of the next step, warm-up included", TRAINER),
    _gauge("vitgan_training_data_wait_ratio", "ratio", "Share of time that it waits for pictures", TRAINER),
    _gauge("vitgan_training_memory_bytes", "bytes", "The GPU's memory at most so far; on a CPU the process's",
           TRAINER),
    _gauge("vitgan_training_warning", "0 or 1", "Whether the last report says that something looks wrong",
           TRAINER),
)  # fmt: skip

TABLE = (*_OF_HTTP, *_OF_IMAGES, *_OF_JOBS, *_OF_THE_HOUSE, *_OF_WORKERS, *_OF_TRAININGS)
BY_NAME = {metric.name: metric for metric in TABLE}
