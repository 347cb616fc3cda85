"""What /metrics tells. Labels come from closed sets, so seeds and unknown paths add no series."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

IMAGES = Counter("vitgan_images", "Images sent, or begun to be sent")
REFUSALS = Counter("vitgan_refusals", "Requests refused or failed", ["status"])
ANSWER_SECONDS = Histogram(
    "vitgan_image_answer_seconds",
    "Time from a valid request to its image's first byte",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
)
BATCH_IMAGES = Histogram(
    "vitgan_batch_images", "Images drawn together, by image", buckets=(1, 2, 4, 8, 16, 32)
)
ORDERS_RESCUED = Counter("vitgan_orders_rescued", "Orders asked for again, as their worker was lost")
EVENT_READERS = Gauge("vitgan_event_readers", "Clients that read a job's events now")
WEBHOOKS = Counter("vitgan_webhooks", "Deliveries that were tried, by what came of it", ["outcome"])
for _outcome in ("delivered", "failed", "dead"):  # each is there from the start
    WEBHOOKS.labels(outcome=_outcome)
