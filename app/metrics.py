"""What this process counts; names, units and labels stand in contract/metrics.py."""

from __future__ import annotations

from contract.instruments import counter, gauge, histogram

REQUESTS = counter("vitgan_http_requests_total")
REQUEST_SECONDS = histogram("vitgan_http_request_seconds")
REQUESTS_IN_PROGRESS = gauge("vitgan_http_requests_in_progress")
ANSWERS_CUT = counter("vitgan_http_answers_cut_total")
SENT_BYTES = counter("vitgan_http_sent_bytes_total")
REFUSALS = counter("vitgan_refusals_total")

ANSWER_SECONDS = histogram("vitgan_image_answer_seconds")
IMAGES_SENT = counter("vitgan_images_sent_total")
PIXELS_SENT = counter("vitgan_image_pixels_sent_total")
BATCH_IMAGES = histogram("vitgan_batch_images")
ORDERS_RESCUED = counter("vitgan_orders_rescued_total")
IMAGES_CARRIED_ON = counter("vitgan_images_carried_on_total")

LEASES_EXPIRED = counter("vitgan_leases_expired_total")
RUNG_AGAIN = counter("vitgan_doorbells_rung_again_total")
WEBHOOKS = counter("vitgan_webhooks_total")
EVENT_READERS = gauge("vitgan_event_readers")
