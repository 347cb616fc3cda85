"""Jobs: POST /train makes one, as drawings do that nobody waits for; GET /jobs tells how they stand."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Annotated

from fastapi import Header, Request, Response
from fastapi.responses import FileResponse
from sse_starlette import EventSourceResponse

from app.answers import Jobs
from app.auth import Known, Trains
from app.datasets import check_trainable
from app.errors import Conflict, InsufficientStorage, InvalidRequest, NotFound, short
from app.events import BEGINNING, events_response, is_read, position_after
from app.heads import Router, head_only
from app.idempotency import Repeatable
from app.images import MEDIA_TYPES
from app.openapi import files
from app.paths import JobId
from app.queries import Cursor, Limit
from app.queueing import queue_job
from app.schemas import TrainBody
from app.services import Use
from app.webhooks import checked_webhook
from contract.disk import NOT_WRITTEN
from contract.jobs import Job, JobFinishedError, JobStatus
from contract.logs import bound
from contract.messages import DrawRequest, TrainRequest
from contract.traces import traceparent

router = Router(tags=["jobs"])


@router.post("/train", status_code=202, operation_id="train", summary="Train a model")
def train(body: TrainBody, response: Response, use: Use, client: Trains, repeats: Repeatable) -> Job:
    r"""Queues a training on an uploaded dataset; when it succeeds, its model can be drawn with.

    curl -d '{"dataset": "cats", "name": "my-cats", "kimg": 100}' \
             -H 'Content-Type: application/json' localhost:8000/train
    """
    settled = repeats.settle(use.jobs.redis, body.model_dump_json(exclude_unset=True))
    response.headers["Location"] = f"{use.settings.root_path}/jobs/{settled.id}"
    with suppress(KeyError):
        return use.jobs.get(settled.id)
    webhook = checked_webhook(body.webhook, is_job=True, settings=use.settings)
    check_trainable(body.dataset, use.settings)
    if body.kimg > use.settings.max_kimg:
        raise InvalidRequest(f"kimg: {body.kimg:g}, at most {use.settings.max_kimg:g} are trained")
    if body.name == "default" or body.name in {model.name for model in use.models()[0]}:
        raise Conflict(f"there is a model {body.name!r} already: choose another name")
    request = TrainRequest(
        **body.model_dump(exclude={"webhook"}), request_id=bound("request_id"), trace=traceparent()
    )
    return queue_job(request, settled.id, webhook, use, client)


@router.get("/jobs", operation_id="list_jobs", summary="List jobs")
def listing(use: Use, client: Known, limit: Limit = 100, cursor: Cursor = None) -> Jobs:
    """Your jobs, newest first, a page at a time."""
    try:
        jobs = use.jobs.list(limit + 1, cursor, owner=None if client.sees_all else client.id)
    except KeyError:
        raise InvalidRequest("cursor: unknown, begin again without one") from None
    more = len(jobs) > limit
    return Jobs(items=jobs[:limit], next_cursor=jobs[limit - 1].id if more else None)


@router.get("/jobs/{job_id}", operation_id="get_job", summary="One job")
def one(job_id: JobId, use: Use, client: Known) -> Job:
    """Status and progress."""
    try:
        job = use.jobs.get(job_id)
    except KeyError:
        raise no_job(job_id) from None
    if not client.sees(job):
        raise no_job(job_id)
    return job


@router.get(
    "/jobs/{job_id}/events",
    operation_id="stream_job_events",
    summary="A job's events, as they come",
    response_class=EventSourceResponse,
    responses={
        200: {
            "content": {"text/event-stream": {}},  # OpenAPI 3.1 has no words for events
            "description": "server-sent events, each with JSON as its data: `status`, `progress`, "
            "`cancel-asked`; at last `end`",
        },
        204: {
            "description": "the job has ended, and Last-Event-ID is its last event's: do not connect again"
        },
        400: {"description": "Last-Event-ID is no event's id"},
        404: {"description": "no such job"},
    },
)
async def events(
    job_id: JobId,
    request: Request,
    use: Use,
    client: Known,
    last_event_id: Annotated[
        str | None, Header(description="`id` of the last event that was read; all without")
    ] = None,
) -> Response:
    """All of them from the first on, or those after ``Last-Event-ID``; also when the job has ended.

    curl -N localhost:8000/jobs/0e26.../events

    The newest 1,000 are kept: where some are missing there is an event `gap`. Stop reading at `end`: a
    browser's EventSource connects once more then, and is told by 204 to stop.
    """
    position = position_after(last_event_id)
    await asyncio.to_thread(one, job_id, use, client)
    if position != BEGINNING and await is_read(use.events, job_id, position):
        return Response(status_code=204)
    answer = events_response(use.events, job_id, position)
    return head_only(dict(answer.headers), answer.media_type) if request.method == "HEAD" else answer


@router.get(
    "/jobs/{job_id}/result",
    operation_id="get_job_result",
    summary="The file that a drawing job made",
    response_class=FileResponse,
    responses={
        200: {
            "content": files(*MEDIA_TYPES.values(), "image/apng", "application/zip"),
            "description": "the file",
        },
        404: {"description": "no such job, or its file is no longer kept"},
        409: {"description": "it has not succeeded, or is a training"},
        507: {"description": "it has failed, because the disk was full"},
    },
)
def result(job_id: JobId, use: Use, client: Known) -> FileResponse:
    """The bytes that the same request without ``Prefer: respond-async`` is answered with."""
    job = one(job_id, use, client)
    if job.kind != DrawRequest.KIND:
        raise Conflict(f"job {job_id} is a training: draw with the model that it makes")
    if job.error and NOT_WRITTEN in job.error:
        raise InsufficientStorage(
            f"job {job_id} has failed, ask for it again: {job.error}",
            reason="disk_full",
            folder=use.settings.results_dir,
        )
    if job.status is JobStatus.FAILED:
        raise Conflict(f"job {job_id} has failed, so it has no file: {job.error}")
    if job.status is not JobStatus.SUCCEEDED or job.result is None:
        raise Conflict(f"job {job_id} is {job.status}: its file is there when it has succeeded")
    what = DrawRequest.model_validate(job.request).what
    path = use.settings.results_dir / f"{job.id}.{what.suffix}"
    if not path.is_file():
        raise NotFound(f"the file of job {job_id} is no longer kept: ask for it again")
    # What an older release has drawn does not say with which model.
    named = {"X-Model": str(job.result["model"])} if "model" in job.result else None
    return FileResponse(path, media_type=what.media_type, headers=named)


@router.delete("/jobs/{job_id}", status_code=202, operation_id="cancel_job", summary="Cancel a job")
def cancel(job_id: JobId, use: Use, client: Known) -> Job:
    """A queued job is cancelled at once; a running one within seconds."""
    one(job_id, use, client)
    try:
        use.jobs.request_cancel(job_id)
    except JobFinishedError:
        raise Conflict(f"job {job_id} has ended: there is nothing to cancel") from None
    return use.jobs.get(job_id)


def no_job(job_id: str) -> NotFound:
    """The refusal of an unknown id."""
    return NotFound(f"job {short(job_id)!r} does not exist: GET /jobs lists your jobs")
