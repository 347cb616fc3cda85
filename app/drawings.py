"""Images that nobody waits for (RFC 7240, ``Prefer: respond-async``): a job, and its file later."""

from __future__ import annotations

from fastapi import Request
from fastapi.responses import JSONResponse, Response

from app.auth import Client
from app.errors import Unavailable
from app.queueing import queue_job
from app.services import Services
from app.visits import preferences
from contract.logs import bound
from contract.messages import DrawRequest, Grid, Images, Walk
from contract.models import PublishedModel
from contract.traces import traceparent


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

    Raises ``Unavailable`` if the request names a kind of arithmetic that jobs are not drawn with now.
    """
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
    headers = {"Location": f"/jobs/{job_id}", "Preference-Applied": "respond-async"}
    return JSONResponse(job.model_dump(mode="json"), 202, headers)
