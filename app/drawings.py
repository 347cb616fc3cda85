"""Images that nobody waits for (RFC 7240, ``Prefer: respond-async``): a job, and its file later."""

from __future__ import annotations

from fastapi import Request
from fastapi.responses import JSONResponse, Response
from kombu.exceptions import OperationalError
from redis import RedisError

from app.callers import Caller
from app.errors import REDIS_AWAY, Unavailable
from app.services import Services
from app.visits import preferences
from contract.messages import DrawRequest, Grid, Images, Walk
from contract.models import PublishedModel
from contract.queue import DRAW_TASK


def wants_job(request: Request) -> bool:
    """Whether the client prefers a job to waiting."""
    return "respond-async" in preferences(request)


def job_response(
    model: PublishedModel, what: Images | Grid | Walk, use: Services, caller: Caller, webhook: str | None
) -> Response:
    """202 and the job; ``webhook`` is told of its end."""
    request = DrawRequest(model=model.name, digest=model.digest, what=what)
    job_id = use.jobs.create(request, caller.id, webhook)
    ring(DRAW_TASK, job_id, use)
    headers = {"Location": f"/jobs/{job_id}", "Preference-Applied": "respond-async"}
    return JSONResponse(use.jobs.get(job_id).model_dump(mode="json"), 202, headers)


def ring(task: str, job_id: str, use: Services) -> None:
    """Tells a worker of the job; a job that nobody could be told of is cancelled again."""
    try:
        use.celery.send_task(task, (job_id,))
    except (OperationalError, RedisError, OSError):
        use.jobs.request_cancel(job_id)
        raise Unavailable(REDIS_AWAY) from None
