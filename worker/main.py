"""The image worker's process: batches, compositions and drawing jobs, with clients of its own for Redis."""

from __future__ import annotations

import logging
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from celery import signals
from redis import Redis, RedisError
from redis.backoff import NoBackoff
from redis.retry import Retry

from contract.arithmetic import PORTABLE
from contract.jobs import JobStore
from contract.logs import set_up_logs
from contract.messages import Composition, ImageBatch
from contract.metrics import WORKER
from contract.models import ModelLibrary
from contract.queue import COMPOSE_TASK, DRAW_TASK, GENERATE, GENERATE_TASK, make_celery
from contract.redis_client import command_client
from contract.stream import STALL_SECONDS
from worker.compositions import draw_composition
from worker.drawings import run_drawing, sweep_results
from worker.engine import Engine, core_count, use_threads
from worker.images import draw_batch
from worker.metrics import SLOTS, SLOTS_BUSY
from worker.process import name, run_celery
from worker.settings import WorkerSettings

log = logging.getLogger(__name__)

SWITCH_SECONDS = 0.0005
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
    celery = make_celery(settings.redis_url, engine.arithmetic)
    log.info("images are drawn with arithmetic %s", engine.arithmetic)
    if settings.arithmetic == PORTABLE != engine.arithmetic:
        log.warning(
            "this machine cannot draw with portable arithmetic, which needs an x86-64 CPU with AVX2 and the "
            "PyTorch of constraints.txt: other kinds of machine will draw other bytes"
        )

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
        run_celery(celery, GENERATE, settings.slots, settings, WORKER, engine.arithmetic)
    finally:
        drawings.shutdown()  # they stop at their next strip, while Python still lets them have threads


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
