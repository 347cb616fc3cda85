"""Alive, ready, and the pages."""

from __future__ import annotations

import contextlib
from pathlib import Path

from fastapi import Request, Response
from fastapi.responses import FileResponse, PlainTextResponse, RedirectResponse
from prometheus_client.exposition import choose_encoder

from app import gauges
from app.answers import Alive, Disk, Readiness
from app.conditional import not_modified
from app.errors import ServiceError
from app.heads import Router
from app.services import Services, Use
from contract.disk import DiskError
from contract.instruments import REGISTRIES
from contract.metrics import API
from contract.models import SkippedModel
from contract.queue import GENERATE, TRAIN
from contract.versions import TOGETHER

router = Router(tags=["status"])
pages = Router()

STATIC = Path(__file__).resolve().parent.parent / "static"
PAGE_POLICY = (
    "default-src 'self'; img-src 'self' blob: data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)


@router.get("/healthz", operation_id="healthz", summary="Alive?")
async def healthz() -> Alive:
    """This process answers; async, so that it waits for no thread."""
    return Alive()


@router.get(
    "/readyz",
    operation_id="readyz",
    summary="Ready?",
    responses={503: {"model": Readiness, "description": "says what is missing"}},
)
def readyz(request: Request, response: Response, use: Use) -> Readiness:
    """Redis and an image worker answer; a missing training worker is told, but only trainings wait.

    Models that cannot be read are told, too, and others are drawn with; so is a disk to which nothing can be
    written, which keeps uploads, trainings and jobs from being taken.
    Workers of another version are told and not asked: docs/operations.md.
    """
    use.fleet.look()
    disk = use.disk_error()
    missing = use.fleet.missing()
    if missing:
        response.status_code = 503
        response.headers["Retry-After"] = "2"
    skipped: list[SkippedModel] = []
    with contextlib.suppress(ServiceError):
        skipped = use.models()[1]
    return Readiness(
        status="missing" if missing else "ready",
        missing=missing,
        redis=use.fleet.redis_answers,
        image_workers=use.fleet.workers.get(GENERATE, 0),
        arithmetic=use.fleet.kinds,
        training_workers=use.fleet.workers.get(TRAIN, 0),
        skipped_models=skipped,
        disk=Disk(writable=disk is None, problem=_told(disk, request, use) if disk else None),
        version=TOGETHER,
        other_versions=use.fleet.others,
    )


def _told(error: DiskError, request: Request, use: Services) -> str:
    """Where keys are asked for, this route's readers need not know where our folders are."""
    return str(error) if request.app.state.key_ring is None else error.told(use.settings.data_dir)


@router.get("/metrics", operation_id="metrics", summary="For Prometheus", response_class=PlainTextResponse)
def metrics(request: Request, use: Use) -> Response:
    """What this process counts and how the service stands: docs/metrics.md.

    In OpenMetrics, for whoever accepts it, times carry the id of a request that took so long.
    """
    encode, media_type = choose_encoder(request.headers.get("accept", ""))
    with gauges.one_at_a_time:
        gauges.look(use)
        return Response(encode(REGISTRIES[API]), headers={"Content-Type": media_type})


@pages.get("/", include_in_schema=False)
def studio(request: Request) -> Response:
    """The page: a grid of seeds to look through."""
    return page("index.html", request)


@pages.get("/docs", include_in_schema=False)
def docs(request: Request) -> Response:
    """The routes, to read and to try: Swagger UI."""
    return page("docs.html", request)


@pages.get("/redoc", include_in_schema=False)
def redoc(use: Use) -> Response:
    """Where FastAPI's other services have the same."""
    return RedirectResponse(f"{use.settings.root_path}/docs", 307)


def page(name: str, request: Request) -> Response:
    """A page that runs our own scripts and no others."""
    path, headers = STATIC / name, {"Content-Security-Policy": PAGE_POLICY}
    answer = FileResponse(path, headers=headers, stat_result=path.stat())
    etag = answer.headers["etag"]
    return not_modified(request, etag, headers | {"ETag": etag}) or answer
