"""The API process: ``create_app(settings)`` makes it, uvicorn serves it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import redis.asyncio
from celery import Celery
from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles

from app import errors
from app.coalesce import Coalescer, Publish
from app.middleware import BodyLimit, OpenToPages, RequestId
from app.openapi import describe_refusals
from app.reaper import Reaper
from app.replies import BLOCK_SECONDS, Replies
from app.routes import datasets, generate, iiif, images, interpolate, jobs, models, status
from app.services import Fleet, Services
from app.settings import AppSettings
from contract.jobs import JobStore
from contract.messages import ImageBatch, Order
from contract.models import ModelLibrary
from contract.queue import COMPOSE_TASK, GENERATE, GENERATE_TASK, make_celery
from contract.redis_client import command_client


def create_app(settings: AppSettings | None = None) -> FastAPI:
    """The application; nothing connects before it starts, and it starts without Redis too."""
    settings = settings or AppSettings()

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        patient = redis.asyncio.Redis.from_url(
            settings.redis_url, socket_timeout=BLOCK_SECONDS + 5, socket_connect_timeout=3
        )
        services = make_services(settings, patient)
        app.state.services = services
        tasks = [
            asyncio.create_task(services.replies.read_forever()),
            asyncio.create_task(services.fleet.look_forever()),
            asyncio.create_task(Reaper(services.jobs, services.celery).look_forever()),
        ]
        yield
        await end(tasks)
        await patient.aclose()
        services.jobs.redis.close()
        services.celery.close()

    app = FastAPI(
        title="ViTGAN",
        summary="Images from a Vision-Transformer GAN whose every patch is painted by a SIREN",
        lifespan=lifespan,
    )
    errors.install(app)
    app.add_middleware(BodyLimit, settings=settings)
    app.add_middleware(OpenToPages)
    app.add_middleware(RequestId)
    for noun in (generate, images, interpolate, iiif, datasets, jobs, models, status):
        app.include_router(noun.router)
    describe_refusals(app)
    app.mount("/static", StaticFiles(directory=status.STATIC))
    return app


async def end(tasks: list[asyncio.Task[None]]) -> None:
    """Cancels them until they end: a Redis client that is just sending may swallow one cancellation."""
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=0.1)


def make_services(settings: AppSettings, patient: redis.asyncio.Redis) -> Services:
    """What the routes work with, on that Redis."""
    commands = command_client(settings.redis_url)
    celery = make_celery(settings.redis_url)
    replies = Replies(patient)
    fleet = Fleet(commands)
    return Services(
        settings=settings,
        library=ModelLibrary(settings.shipped_models_dir, settings.trained_models_dir),
        jobs=JobStore(commands),
        celery=celery,
        fleet=fleet,
        replies=replies,
        coalescer=Coalescer(
            replies,
            publisher(celery),
            lambda: fleet.workers.get(GENERATE, 0),
            gather_seconds=settings.gather_seconds,
            max_batch=settings.max_batch,
            max_waiting=settings.max_waiting,
            max_waiting_pixels=settings.max_waiting_pixels,
            answer_seconds=settings.answer_seconds,
        ),
    )


def publisher(celery: Celery) -> Publish:
    """Queues an order as one Celery message, in a thread: Celery's client blocks."""

    def send(order: Order) -> None:
        task = GENERATE_TASK if isinstance(order, ImageBatch) else COMPOSE_TASK
        celery.send_task(task, (order.model_dump(),))

    async def publish(order: Order) -> None:
        await asyncio.to_thread(send, order)

    return publish
