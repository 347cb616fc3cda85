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
from contract.jobs import Job, NameTakenError, QueueFullError, QuotaUsedError, RecordsFullError
from contract.messages import DrawRequest, TrainRequest
from contract.queue import DOORBELLS

log = logging.getLogger(__name__)


def queue_job(
    request: TrainRequest | DrawRequest, job_id: str, webhook: str | None, use: Services, client: Client
) -> Job:
    """The job of that id, queued if it is not there yet.

    Raises ``Conflict``, ``QuotaUsed`` or ``Unavailable``.
    """
    bound = use.settings.max_queued_jobs
    try:
        use.jobs.create(
            request, client.id, webhook, job_id=job_id, most_queued=bound, most_open=client.max_jobs
        )
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
            f"this key may have {client.max_jobs} unfinished jobs: wait for one, or cancel it",
            retry_after=_soon(use),
            reason="quota_jobs",
        ) from None
    except RecordsFullError:
        raise QuotaUsed(
            f"what is kept of this key's jobs takes {MOST_BYTES // 2**20} MiB: wait until some have ended, "
            "or cancel some",
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
