"""A worker process: Celery with one queue, a presence that beats, and clients of its own for Redis."""

from __future__ import annotations

import logging
import os
import secrets
import socket
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from celery import Celery, signals
from celery.apps import worker as celery_worker
from redis import Redis, RedisError
from redis.backoff import NoBackoff
from redis.retry import Retry

from contract import keys
from contract.instruments import serve
from contract.jobs import JobStore
from contract.logs import set_up_logs
from contract.messages import Composition, ImageBatch
from contract.metrics import TRAINER, WORKER
from contract.models import ModelLibrary
from contract.presence import Beating
from contract.queue import COMPOSE_TASK, DRAW_TASK, GENERATE, GENERATE_TASK, TRAIN, TRAIN_TASK, make_celery
from contract.redis_client import command_client
from contract.stream import STALL_SECONDS
from contract.traces import end_traces
from worker.compositions import draw_composition
from worker.drawings import run_drawing, sweep_results
from worker.engine import Engine, core_count, use_threads
from worker.images import draw_batch
from worker.metrics import SLOTS, SLOTS_BUSY
from worker.pool import ThreadPool
from worker.settings import WorkerSettings
from worker.trainer import run_job, sweep_runs

log = logging.getLogger(__name__)

SWITCH_SECONDS = 0.0005
BORN = secrets.token_hex(4)  # a container that is started again has its host's name and its process id again
AGAIN_SECONDS = 0.2  # until a Redis that does not answer is asked again
DRAWINGS = 2  # drawing jobs at a time, in an image worker


def run_image_worker(settings: WorkerSettings) -> None:
    """Draws batches until a signal stops it."""
    set_up_logs(WORKER, settings)
    SLOTS.set(settings.slots)
    sweep_results(settings)
    use_threads(1)  # the engine's own threads paint side by side
    # A drawing thread gives Python's lock away at each operation and must get it back soon.
    sys.setswitchinterval(SWITCH_SECONDS)
    library = ModelLibrary(settings.shipped_models_dir, settings.trained_models_dir)
    engine = Engine(library, core_count(settings.threads), settings.loaded_models)
    redis = Redis.from_url(settings.bytes_url, socket_timeout=STALL_SECONDS + 5, retry=Retry(NoBackoff(), 0))
    celery = make_celery(settings.redis_url)

    stopping, late = threading.Event(), threading.Event()

    @signals.worker_shutting_down.connect(weak=False)
    def stop(**_: object) -> None:
        stopping.set()
        timer = threading.Timer(settings.stop_seconds, late.set)
        timer.daemon = True
        timer.start()

    @celery.task(name=GENERATE_TASK)
    def generate(batch: dict[str, Any]) -> None:
        with SLOTS_BUSY.track_inprogress():
            draw_batch(ImageBatch.model_validate(batch), engine, redis, name(GENERATE), late.is_set)

    store = JobStore(command_client(settings.redis_url))

    # Beside Celery's slots: images that somebody waits for never wait for jobs that nobody waits for.
    drawings = ThreadPoolExecutor(DRAWINGS, "drawing")

    def run(job_id: str) -> None:
        if run_drawing(job_id, store, engine, settings, stopping):
            celery.send_task(DRAW_TASK, (job_id,))

    @celery.task(name=DRAW_TASK)
    def draw(job_id: str) -> None:
        drawings.submit(run, job_id)

    @celery.task(name=COMPOSE_TASK)
    def compose(order: dict[str, Any]) -> None:
        with SLOTS_BUSY.track_inprogress():
            draw_composition(Composition.model_validate(order), engine, redis, name(GENERATE), late.is_set)

    await_answer(redis)
    try:
        _run(celery, GENERATE, settings.slots, settings, WORKER)
    finally:
        drawings.shutdown()  # they stop at their next strip, while Python still lets them have threads


def run_training_worker(settings: WorkerSettings) -> None:
    """Runs trainings, one at a time, until a signal stops it."""
    set_up_logs(TRAINER, settings)
    sweep_runs(settings)
    store = JobStore(command_client(settings.redis_url))
    celery = make_celery(settings.redis_url)
    stopping = threading.Event()
    signals.worker_shutting_down.connect(lambda **_: stopping.set(), weak=False)

    @celery.task(name=TRAIN_TASK)
    def train(job_id: str) -> None:
        if run_job(job_id, store, settings, stopping):
            celery.send_task(TRAIN_TASK, (job_id,))

    _run(celery, TRAIN, 1, settings, TRAINER)


def name(queue: str) -> str:
    """Under which this process beats."""
    return f"{queue}-{os.getpid()}-{BORN}@{socket.gethostname()}"


def await_answer(redis: Redis) -> None:
    """Returns when that Redis answers: a worker that beats is given images, and must be able to send them."""
    told = False
    while True:
        try:
            redis.ping()
            return
        except RedisError as error:
            if not told:
                log.warning("waiting for the Redis of image bytes: %s", error)
            told = True
            time.sleep(AGAIN_SECONDS)


def serve_metrics(room: str, settings: WorkerSettings) -> None:
    """For Prometheus, if the settings say where; raises ``SystemExit`` if nothing can listen there."""
    if not settings.metrics_port:
        return
    try:
        serve(room, settings.metrics_host, settings.metrics_port)
    except OSError as error:
        raise SystemExit(
            f"cannot listen on {settings.metrics_host}:{settings.metrics_port} for Prometheus "
            f"({error.strerror}): set VITGAN_METRICS_PORT, or 0 for none"
        ) from None


def _run(celery: Celery, queue: str, slots: int, settings: WorkerSettings, room: str) -> None:
    """Starts Celery's worker on a pool of threads; returns when a signal has stopped it.

    Raises ``SystemExit`` if it has ended by itself, as Celery does over bytes that are no message.
    """
    serve_metrics(room, settings)
    asked_to_stop = threading.Event()
    signals.worker_shutting_down.connect(lambda **_: asked_to_stop.set(), weak=False)
    beating = Beating(command_client(settings.redis_url), queue, name(queue))
    signals.worker_ready.connect(lambda **_: beating.start(), weak=False)
    signals.worker_shutting_down.connect(lambda **_: beating.stop(), weak=False)
    celery.conf.worker_pool = f"{ThreadPool.__module__}:{ThreadPool.__name__}"
    signals.setup_logging.connect(lambda **_: None, weak=False)  # ours is set up; Celery's is left out
    # It would say that it stops, past all logging.
    celery_worker.safe_say = lambda *_: None  # type: ignore[attr-defined]
    celery.worker_main(
        [
            "--quiet", "worker", f"--concurrency={slots}", f"--queues={keys.of_version(queue)}",
            f"--hostname={name(queue)}", "--without-gossip", "--without-mingle",
            "--without-heartbeat",
        ]
    )  # fmt: skip
    end_traces()
    if not asked_to_stop.is_set():
        raise SystemExit("the worker has ended by itself; its log says why")
