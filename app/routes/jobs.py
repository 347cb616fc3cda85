"""Jobs: POST /train makes one, as drawings do that nobody waits for; GET /jobs tells how they stand."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response
from fastapi.responses import FileResponse

from app.auth import Known, Trains
from app.datasets import dataset_names
from app.drawings import ring
from app.errors import Conflict, InvalidRequest, NotFound
from app.schemas import Listing, TrainBody
from app.services import Use
from contract.jobs import Job, JobFinishedError, JobStatus, NameTakenError
from contract.messages import DrawRequest, TrainRequest
from contract.queue import TRAIN_TASK

router = APIRouter(tags=["jobs"])


@router.post("/train", status_code=202, summary="Train a model")
def train(body: TrainBody, response: Response, use: Use, client: Trains) -> Job:
    r"""Queues a training on an uploaded dataset; when it succeeds, its model can be drawn with.

    curl -d '{"dataset": "cats", "preset": "vitgan-ti-32", "name": "my-cats", "kimg": 100}' \
             -H 'Content-Type: application/json' localhost:8000/train
    """
    if body.dataset not in dataset_names(use.settings):
        raise InvalidRequest(f"dataset: there is no {body.dataset!r}, GET /datasets lists what there is")
    if body.kimg > use.settings.max_kimg:
        raise InvalidRequest(f"kimg: {body.kimg:g}, at most {use.settings.max_kimg:g} are trained")
    if body.name == "default" or body.name in {model.name for model in use.library.list()}:
        raise Conflict(f"there is a model {body.name!r} already: choose another name")
    try:
        job_id = use.jobs.create(TrainRequest(**body.model_dump()))
    except NameTakenError:
        raise Conflict(f"a training is making {body.name!r} already: choose another name") from None
    ring(TRAIN_TASK, job_id, use)
    response.headers["Location"] = f"/jobs/{job_id}"
    return use.jobs.get(job_id)


@router.get("/jobs", summary="List jobs")
def listing(
    use: Use, client: Known, limit: Annotated[int, Query(ge=1, le=1000)] = 100, cursor: str | None = None
) -> Listing[Job]:
    """Jobs, newest first, a page at a time."""
    try:
        jobs = use.jobs.list(limit + 1, cursor)
    except KeyError:
        raise InvalidRequest("cursor: unknown, begin again without one") from None
    more = len(jobs) > limit
    return Listing(items=jobs[:limit], next_cursor=jobs[limit - 1].id if more else None)


@router.get("/jobs/{job_id}", summary="One job")
def one(job_id: str, use: Use, client: Known) -> Job:
    """Status and progress."""
    try:
        return use.jobs.get(job_id)
    except KeyError:
        raise no_job(job_id) from None


@router.head("/jobs/{job_id}/result", include_in_schema=False)
@router.get(
    "/jobs/{job_id}/result",
    summary="The file that a drawing job made",
    response_class=FileResponse,
    responses={
        404: {"description": "no such job, or its file is no longer kept"},
        409: {"description": "it has not succeeded, or is a training"},
    },
)
def result(job_id: str, use: Use, client: Known) -> FileResponse:
    """The bytes that the same request without ``Prefer: respond-async`` is answered with."""
    job = one(job_id, use, client)
    if job.kind != DrawRequest.KIND:
        raise Conflict(f"job {job_id} is a training: draw with the model that it makes")
    if job.status is not JobStatus.SUCCEEDED or job.result is None:
        raise Conflict(f"job {job_id} is {job.status}: its file is there when it has succeeded")
    what = DrawRequest.model_validate(job.request).what
    path = use.settings.results_dir / f"{job.id}.{what.suffix}"
    if not path.is_file():
        raise NotFound(f"the file of job {job_id} is no longer kept: ask for it again")
    return FileResponse(path, media_type=what.media_type)


@router.delete("/jobs/{job_id}", status_code=202, summary="Cancel a job")
def cancel(job_id: str, use: Use, client: Known) -> Job:
    """A queued job is cancelled at once; a running one within seconds."""
    try:
        use.jobs.request_cancel(job_id)
    except KeyError:
        raise no_job(job_id) from None
    except JobFinishedError:
        raise Conflict(f"job {job_id} has ended: there is nothing to cancel") from None
    return use.jobs.get(job_id)


def no_job(job_id: str) -> NotFound:
    """The refusal of an unknown id."""
    return NotFound(f"there is no job {job_id!r}: GET /jobs lists what there is")
