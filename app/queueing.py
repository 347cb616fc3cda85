"""A job from a request: recorded, then rung for."""

from __future__ import annotations

import logging

from kombu.exceptions import OperationalError
from redis import RedisError

from app.admission import seconds_until
from app.auth import Client
from app.errors import Conflict, QuotaUsed, Unavailable
from app.services import Services
from contract.job_machine import MOST_BYTES
from contract.jobs import (
    ANONYMOUS,
    Job,
    NameTakenError,
    PixelsUsedError,
    QueueFullError,
    QuotaUsedError,
    RecordsFullError,
)  # fmt: skip
from contract.messages import DrawRequest, TrainRequest
from contract.queue import DOORBELLS

log = logging.getLogger(__name__)


def queue_job(
    request: TrainRequest | DrawRequest, job_id: str, webhook: str | None, use: Services, client: Client
) -> Job:
    """The job of that id, queued if it is not there yet.

    Raises ``Conflict``, ``QuotaUsed``, ``Unavailable``, or ``InsufficientStorage`` if its result could not be
    kept.
    """
    use.require_disk()
    settings, bound = use.settings, use.settings.max_queued_jobs
    most_open = client.max_jobs or (None if client.id == ANONYMOUS else settings.max_client_jobs)
    try:
        use.jobs.create(
            request, client.id, webhook, job_id=job_id, most_queued=bound, most_open=most_open,
            most_pixels=settings.max_client_job_pixels,
        )  # fmt: skip
    except NameTakenError as error:
        raise Conflict(f"a training is making {error} already: choose another name") from None
    except QueueFullError:
        raise Unavailable(
            f"{bound} jobs are waiting already: try again later",
            retry_after=_soon(use),
            reason="jobs_waiting",
        ) from None
    except QuotaUsedError:
        raise QuotaUsed(
            f"this key may have {most_open} unfinished jobs: wait for one, or cancel it",
            retry_after=_soon(use),
            reason="quota_jobs",
        ) from None
    except PixelsUsedError:
        most = settings.max_client_job_pixels
        raise QuotaUsed(
            f"the unfinished jobs of one client may have {most} pixels, and this one would be too many: wait "
            "for one of them, cancel one, or ask for less",
            retry_after=_soon(use),
            reason="quota_job_pixels",
        ) from None
    except RecordsFullError:
        raise QuotaUsed(
            f"the records of one client's jobs take at most {MOST_BYTES // 2**20} MiB, and this one would be "
            "too large: wait until some have ended, or cancel some",
            retry_after=_soon(use),
            reason="quota_jobs",
        ) from None
    log.info("job %s is queued: %s", job_id, request.KIND)
    ring(request.KIND, job_id, use)
    return use.jobs.get(job_id)


def ring(kind: str, job_id: str, use: Services) -> None:
    """Tells a worker of the job. If nobody can be told now, the reaper rings later: the record counts."""
    try:
        use.celery.send_task(DOORBELLS[kind], (job_id,), queue=use.fleet.job_queue(kind))
    except (OperationalError, RedisError, OSError) as error:
        log.warning("job %s is rung for later: %s", job_id, error)


def _soon(use: Services) -> int:
    """Seconds until a job will have ended if it goes on as it does."""
    return seconds_until(1, use.jobs.end_rate())
