"""Webhooks that were given up."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from pydantic import BaseModel

from app.auth import Client, Known
from app.heads import Router
from app.schemas import Listing
from app.services import Services, Use
from contract.times import UtcTime
from contract.webhooks import KEEP_DEAD, WebhookQueue

router = Router(tags=["jobs"])


class DeadWebhook(BaseModel):
    """A webhook that nobody took."""

    job_id: str
    url: str | None
    reason: str  # of the last attempt
    died_at: UtcTime


class DeadWebhooks(Listing[DeadWebhook]):
    """All of them, in one page."""


@router.get("/webhooks/dead", operation_id="list_dead_webhooks", summary="Webhooks that were given up")
def dead(use: Use, client: Known) -> DeadWebhooks:
    """The last thousand, newest first: all attempts failed, or the receiver answered 410 Gone."""
    return DeadWebhooks(items=list(_dead(use, client)), next_cursor=None)


def _dead(use: Services, client: Client) -> Iterator[DeadWebhook]:
    for letter in WebhookQueue(use.jobs.redis).dead()[:KEEP_DEAD]:
        with contextlib.suppress(KeyError):  # forgotten meanwhile
            job = use.jobs.get(letter.job_id)
            if client.sees(job):
                yield DeadWebhook(
                    job_id=job.id, url=job.webhook, reason=letter.reason, died_at=letter.died_at
                )
