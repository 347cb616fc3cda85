"""The API on a real Valkey, with a painter in the worker's place that answers through it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from redis import Redis

from app.main import create_app
from app.services import Services
from app.settings import AppSettings
from contract import keys
from contract.arithmetic import PORTABLE
from contract.messages import ImageBatch
from contract.queue import GENERATE
from contract.stream import Frame, Kind

Answer = Callable[[ImageBatch], list[Frame]]


def whole(batch: ImageBatch) -> list[Frame]:
    """Every image in one frame that says what it was asked."""
    meta = {"queue": 0.001, "batch": len(batch.items), "render": 0.002}
    said = f"{batch.columns.count}x{batch.rows.count}"
    return [Frame(i.id, Kind.LAST, f"{i.seed} {said} {i.truncation}".encode(), meta) for i in batch.items]


@dataclass
class Painter:
    """Stands in for the image worker: takes batches, pushes its answer's frames to the real Redis."""

    redis: Redis
    answer: Answer = whole
    batches: list[ImageBatch] = field(default_factory=list)

    async def publish(self, batch: ImageBatch) -> None:
        """Called by the coalescer in place of Celery."""
        self.batches.append(batch)
        for frame in self.answer(batch):
            self.redis.rpush(keys.replies(batch.reply_to), frame.encode())

    def come_alive(self, arithmetic: str = PORTABLE) -> None:
        """Beats once, far into the future."""
        until = self.redis.time()[0] + 3600
        self.redis.zadd(keys.workers(GENERATE), {"painter": until})
        self.redis.zadd(keys.ARITHMETIC, {f"{arithmetic} painter": until})


@dataclass
class Api:
    """A running application and a client of it."""

    app: FastAPI
    http: httpx.AsyncClient
    painter: Painter

    @property
    def strict(self) -> httpx.AsyncClient:
        """A client that is told of a broken connection as an exception."""
        return httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url="http://test")

    @property
    def services(self) -> Services:
        services: Services = self.app.state.services
        return services


Start = Callable[..., Awaitable[Api]]


@pytest.fixture
def models_dir(tmp_path: Path) -> Path:
    """One published model, ``personas``; the API never looks into its weights."""
    folder = tmp_path / "models" / "personas"
    folder.mkdir(parents=True)
    config = {"preset": "vitgan-ti-32", "kimg": 1, "created_at": "now", "generator": {"resolution": 32}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "model.safetensors").write_bytes(b"weights")
    return folder.parent


@pytest.fixture
async def start(redis: Redis, valkey_url: str, tmp_path: Path, models_dir: Path) -> AsyncIterator[Start]:
    """Starts the API with other settings; a painter is alive unless told otherwise."""
    async with contextlib.AsyncExitStack() as running:

        async def make(alive: bool = True, **settings: object) -> Api:
            values = {"redis_url": valkey_url, "data_dir": tmp_path / "var", "shipped_models_dir": models_dir}
            app = create_app(AppSettings(**(values | settings)))
            await running.enter_async_context(app.router.lifespan_context(app))
            painter = Painter(redis)
            services: Services = app.state.services
            services.coalescer.publish = painter.publish
            if alive:
                painter.come_alive()
            services.fleet.look()
            transport = httpx.ASGITransport(app, raise_app_exceptions=False)
            http = httpx.AsyncClient(transport=transport, base_url="http://test")
            await running.enter_async_context(http)
            return Api(app, http, painter)

        yield make


@pytest.fixture
async def api(start: Start) -> Api:
    """The API as it is without further settings."""
    return await start()


@pytest.fixture
def anyio_backend() -> str:
    """What uvicorn runs on."""
    return "asyncio"
