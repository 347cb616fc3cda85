"""Images that nobody waits for (RFC 7240, ``Prefer: respond-async``): a job, and its file later."""

from __future__ import annotations

from fastapi import Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, Field

from app.auth import Client
from app.errors import InvalidRequest, Unavailable
from app.queueing import queue_job
from app.services import Services
from app.visits import preferences
from contract.job_turns import pixel_rate, pixels_left
from contract.jobs import Job
from contract.logs import bound
from contract.messages import DrawRequest, Grid, Images, Walk
from contract.models import PublishedModel
from contract.traces import traceparent


class Estimate(BaseModel):
    """How large a drawing job is, and when it will be done."""

    pixels: int
    pixels_before: int = Field(description="of all unfinished drawing jobs besides; clients take turns")
    seconds: float | None = Field(
        description="until all of that is drawn, one job at a time, as fast as the last ones; null if there "
        "were none"
    )


class QueuedJob(Job):
    """A drawing job as the request for it is answered."""

    estimate: Estimate


def wants_job(request: Request) -> bool:
    """Whether the client prefers a job to waiting."""
    return "respond-async" in preferences(request)


def job_response(
    model: PublishedModel,
    what: Images | Grid | Walk,
    job_id: str,
    webhook: str | None,
    use: Services,
    client: Client,
) -> Response:
    """202 and the job of that id; ``webhook`` is told of its end.

    Raises ``Unavailable`` if the request names a kind of arithmetic that jobs are not drawn with now, and
    ``InvalidRequest`` if it is too large for a job.
    """
    if what.pixels > use.settings.max_job_pixels:
        raise InvalidRequest(
            f"resolution: {what.pixels} pixels in all, at most {use.settings.max_job_pixels} are drawn in "
            "one job, ask for fewer seeds or a smaller size"
        )
    if model.arithmetic != use.fleet.arithmetic:
        raise Unavailable(
            f"model: jobs are drawn with arithmetic {use.fleet.arithmetic!r} now, not {model.arithmetic!r}: "
            "name the model without its digest, or do not prefer respond-async",
            reason="no_worker",
        )
    request = DrawRequest(
        model=model.name, digest=model.digest, what=what, request_id=bound("request_id"), trace=traceparent()
    )
    job = queue_job(request, job_id, webhook, use, client)
    told = QueuedJob(**dict(job), estimate=estimate(what.pixels, use))
    headers = {"Location": f"{use.settings.root_path}/jobs/{job_id}", "Preference-Applied": "respond-async"}
    return JSONResponse(told.model_dump(mode="json"), 202, headers)


def estimate(pixels: int, use: Services) -> Estimate:
    """How long a job that has just been queued will take."""
    left, rate = max(pixels, pixels_left(use.jobs.redis)), pixel_rate(use.jobs.redis)
    return Estimate(pixels=pixels, pixels_before=left - pixels, seconds=left / rate if rate else None)
