"""Requests made from the API's own description, sound and unsound, to a real server: it keeps its word."""

from __future__ import annotations

import json
import threading
import zlib
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
import uvicorn
from hypothesis import settings
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi.checks import ignored_auth, positive_data_acceptance

from app.main import create_app
from app.settings import AppSettings
from contract.messages import Composition, ImageBatch, TrainRequest
from contract.models import ModelLibrary
from contract.redis_client import command_client
from contract.stream import Frame, Kind
from tests.acceptance.processes import until
from tests.app.conftest import Painter, whole
from tests.conftest import write_pictures
from tests.fuzz.conftest import PassedOver, tried

pytestmark = [pytest.mark.fuzz, pytest.mark.filterwarnings("default")]
FUZZ = settings.get_profile("fuzz")

REFUSALS = {"expected-statuses": ["400", "404", "409", "413", "415", "422"]}
CONFIG = SchemathesisConfig.from_dict({"checks": {"negative_data_rejection": REFUSALS}})
schema = schemathesis.openapi.from_dict(create_app(AppSettings()).openapi(), config=CONFIG)
KNOWN: dict[str, str] = {}  # names of things that there are
# Refusals that no JSON schema can tell (a region outside of its image, two fields that exclude each other)
# are no drift; who may do what is asked in tests/app/test_auth.py.
ELSEWHERE = [positive_data_acceptance, ignored_auth]


@schema.hook
def map_path_parameters(context: Any, path_parameters: dict[str, Any]) -> dict[str, Any]:
    """In most of the requests, what is there: else nearly all of them would be 404."""
    if path_parameters and zlib.crc32(repr(path_parameters).encode()) % 4:
        return {name: KNOWN.get(name, value) for name, value in path_parameters.items()}
    return path_parameters


def answer(order: ImageBatch | Composition) -> list[Frame]:
    """As a worker that is quick."""
    if isinstance(order, ImageBatch):
        return whole(order)
    return [Frame(order.id, Kind.LAST, b"file", {"queue": 0.001, "batch": 1, "render": 0.002})]


@pytest.fixture(scope="module")
def served(valkey_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a real server on a real Valkey, with a painter in the worker's place."""
    with command_client(valkey_url) as redis:
        redis.flushall()  # which may keep the jobs of another test's folder
    folder = tmp_path_factory.mktemp("served")
    model = folder / "models" / "personas"
    model.mkdir(parents=True)
    config = {"preset": "vitgan-ti-32", "kimg": 1, "created_at": "now", "generator": {"resolution": 32}}
    (model / "config.json").write_text(json.dumps(config))
    (model / "model.safetensors").write_bytes(b"weights")
    app = create_app(
        AppSettings(redis_url=valkey_url, data_dir=folder / "var", shipped_models_dir=folder / "models")
    )
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        until(lambda: server.started, 30)
        painter = Painter(command_client(valkey_url), answer)  # type: ignore[arg-type]
        app.state.services.coalescer.publish = painter.publish
        painter.come_alive()
        until(lambda: not app.state.services.fleet.missing(), 30)
        write_pictures(folder / "var" / "datasets" / "personas" / "pictures.zip")
        (folder / "var" / "datasets" / "personas" / "info.json").write_text("{}")
        jobs = app.state.services.jobs
        ended = jobs.create(TrainRequest(dataset="a", preset="vitgan-ti-32", name="b", kimg=1, seed=0))
        jobs.request_cancel(ended)
        named = f"personas@{ModelLibrary(folder / 'models').get('personas').short_digest}"
        KNOWN.update(
            name="personas", model=named, identifier=f"{named}:7", seed="7", region="full", size="64,",
            rotation="0", file="default.png", job_id=ended,
        )  # fmt: skip
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()


@schema.parametrize()
@settings(FUZZ, max_examples=60)
def test_the_service_keeps_its_word(case: schemathesis.Case, served: str) -> None:
    with tried(f"HTTP {case.operation.label}", PassedOver):
        response = case.call_and_validate(base_url=served, excluded_checks=ELSEWHERE, timeout=10)
        if response.status_code >= 400:
            raise PassedOver("a problem object, as it is described")
