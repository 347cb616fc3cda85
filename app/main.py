"""The API process: ``create_app(settings)`` makes it, uvicorn serves it."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, MutableMapping
from typing import Any

import redis.asyncio
from celery import Celery
from fastapi import Depends, FastAPI
from fastapi.staticfiles import StaticFiles
from redis.backoff import NoBackoff
from redis.retry import Retry
from starlette.types import ASGIApp

from app import errors
from app.admission import Gate
from app.asgi import BelowRoot
from app.auth import REFUSED, KeyRing
from app.browsers import CrossOrigin, SecurityHeaders
from app.coalesce import Coalescer, Publish
from app.datasets import sweep_uploads
from app.events import shared_client
from app.hosts import Hosts
from app.listening import allowed_hosts
from app.measuring import Measuring
from app.middleware import BodyLimit, Ending, RequestId
from app.openapi import describe
from app.queries import known_once, known_once_by_known
from app.reader import Reader
from app.reaper import Reaper
from app.replies import BLOCK_SECONDS, Replies
from app.rescue import Rescue
from app.routes import (
    datasets,
    generate,
    iiif,
    images,
    interpolate,
    jobs,
    manifests,
    models,
    status,
    webhooks,
)
from app.services import Fleet, Services
from app.settings import AppSettings
from app.texts import Texts
from app.uploads import Uploads
from app.webhooks import Webhooks
from contract import traces
from contract.jobs import JobStore
from contract.messages import ImageBatch, Order
from contract.models import ModelLibrary
from contract.promotion import Promotion
from contract.queue import COMPOSE_TASK, GENERATE_TASK, image_queue, make_celery
from contract.redis_client import COMMAND_SECONDS, command_client

UNTOLD = ""  # instead of a task's arguments as text, for a log of Celery's that we do not keep


class Service(FastAPI):
    """FastAPI, with what every answer carries set around the handler of unexpected errors too."""

    def build_middleware_stack(self) -> ASGIApp:
        """From outside: root path, id, measures, headers, stops, host names, compression, sites, FastAPI."""
        stack = CrossOrigin(super().build_middleware_stack(), self.state.settings.cors_origins)
        safe = SecurityHeaders(Ending(Hosts(Texts(stack), self.state.hosts)))
        return BelowRoot(RequestId(Measuring(safe)), self.state.settings.root_path)


def create_app(settings: AppSettings | None = None, host: str = "") -> FastAPI:
    """The application; nothing connects before it starts, and it starts without Redis too.

    ``host`` is where it will listen. Raises ``ValueError`` if the file of API keys cannot be read.
    """
    settings = settings or AppSettings()

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        # One that may block, for bytes on their way; one for commands, never sent twice behind our back.
        patient = redis.asyncio.Redis.from_url(
            settings.bytes_url, socket_timeout=BLOCK_SECONDS + 5, socket_connect_timeout=3
        )
        quick = redis.asyncio.Redis.from_url(
            settings.redis_url, socket_timeout=COMMAND_SECONDS, socket_connect_timeout=COMMAND_SECONDS,
            retry=Retry(NoBackoff(), 0),
        )  # fmt: skip
        sweep_uploads(settings)
        services = make_services(settings, patient, quick)
        app.state.services = services
        reaper = Reaper(services.jobs, services.celery, services.fleet)
        tasks = [
            asyncio.create_task(services.replies.read_forever()),
            asyncio.create_task(services.gate.keep_forever()),
            asyncio.create_task(services.fleet.look_forever()),
            asyncio.create_task(services.fleet.claim_forever(settings)),
            asyncio.create_task(Rescue(services.coalescer, services.fleet.redis).look_forever()),
            asyncio.create_task(reaper.look_forever()),
        ]
        if settings.webhook_key:
            tasks.append(asyncio.create_task(Webhooks(services.jobs, settings, reaper.id).deliver_forever()))
        yield
        await end(tasks)
        await services.gate.close()
        await patient.aclose()
        await quick.aclose()
        await services.events.aclose()
        services.jobs.redis.close()
        services.fleet.bytes_redis.close()
        services.celery.close()
        await asyncio.to_thread(traces.end_traces)

    app = Service(
        title="ViTGAN",
        summary="Images from a Vision-Transformer GAN whose every patch is painted by a SIREN",
        lifespan=lifespan,
        servers=[{"url": settings.root_path or "/"}],
        docs_url=None,
        redoc_url=None,
        telemetry={
            "tracing": traces.provider is not None, "tracer_provider": traces.provider,
            "exclude": functools.partial(is_look, settings.root_path),
            "operation_spans": False, "metrics": False, "logs": False, "auto_configure": False,
        },
    )  # fmt: skip
    app.state.settings = settings
    app.state.hosts = allowed_hosts(host, settings)
    app.state.key_ring = KeyRing(settings.api_keys_file) if settings.api_keys_file else None
    errors.install(app)
    app.add_middleware(BodyLimit, settings=settings)
    for noun in (generate, images, interpolate, iiif, manifests, datasets, jobs, webhooks, models):
        app.include_router(noun.router, responses=REFUSED, dependencies=[Depends(known_once_by_known)])
    app.include_router(iiif.preflights)
    app.include_router(manifests.preflights)
    app.include_router(status.router, dependencies=[Depends(known_once)])
    app.include_router(status.pages)  # whose links may carry anything
    describe(app)
    app.mount("/static/swagger", StaticFiles(packages=[("fastapi_swagger", "resources")]))
    app.mount("/static", StaticFiles(directory=status.STATIC))
    return app


def is_look(root_path: str, scope: MutableMapping[str, Any]) -> bool:
    """Whether somebody only looks how the process stands, again and again: that is no request to trace."""
    return str(scope.get("path")).removeprefix(root_path) in ("/healthz", "/readyz", "/metrics")


async def end(tasks: list[asyncio.Task[None]]) -> None:
    """Cancels them until they end: a Redis client that is just sending may swallow one cancellation."""
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=0.1)


def make_services(
    settings: AppSettings, patient: redis.asyncio.Redis, quick: redis.asyncio.Redis
) -> Services:
    """What the routes work with, on that Redis."""
    commands = command_client(settings.redis_url)
    celery = make_celery(settings.redis_url)
    replies = Replies(patient)
    fleet = Fleet(commands, command_client(settings.bytes_url), settings.preferred_arithmetic)
    return Services(
        settings=settings,
        library=ModelLibrary(settings.shipped_models_dir, settings.trained_models_dir),
        promotion=Promotion(settings.promoted_file, settings.default_model),
        reader=Reader(),
        jobs=JobStore(commands),
        events=shared_client(settings.redis_url),
        celery=celery,
        fleet=fleet,
        replies=replies,
        coalescer=Coalescer(
            replies,
            publisher(celery),
            lambda: fleet.kinds.get(fleet.arithmetic, 0),
            gather_seconds=settings.gather_seconds,
            max_batch=settings.max_batch,
            answer_seconds=settings.answer_seconds,
        ),
        gate=Gate(
            quick, replies.id, settings.max_waiting, settings.max_waiting_pixels, settings.max_client_pixels
        ),
        uploads=Uploads(),
    )


def publisher(celery: Celery) -> Publish:
    """Queues an order as one Celery message, in a thread: Celery's client blocks."""

    def send(order: Order) -> None:
        task = GENERATE_TASK if isinstance(order, ImageBatch) else COMPOSE_TASK
        queue = image_queue(order.arithmetic)
        celery.send_task(task, (order.model_dump(),), queue=queue, argsrepr=UNTOLD, kwargsrepr=UNTOLD)

    async def publish(order: Order) -> None:
        await asyncio.to_thread(send, order)

    return publish
