"""What both kinds of worker are: Celery with one queue, and a presence that beats."""

from __future__ import annotations

import faulthandler
import logging
import os
import secrets
import socket
import threading
import time

from celery import Celery, signals
from celery.apps import worker as celery_worker
from redis import Redis, RedisError

from contract import keys
from contract.claim import claim
from contract.disk import DiskError
from contract.instruments import serve
from contract.presence import Beating
from contract.queue import image_queue
from contract.redis_client import command_client
from contract.redis_urls import without_password
from contract.traces import end_traces
from worker.pool import ThreadPool
from worker.settings import WorkerSettings

log = logging.getLogger(__name__)

AGAIN_SECONDS = 0.2  # until a Redis that does not answer is asked again
HANG_SECONDS = 12.0  # over the time that a stopped worker has: then it says where it hangs, and ends
BORN = secrets.token_hex(4)  # a container that is started again has its host's name and its process id again


def name(queue: str) -> str:
    """Under which this process beats."""
    return f"{queue}-{os.getpid()}-{BORN}@{socket.gethostname()}"


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


def await_claim(redis: Redis, settings: WorkerSettings) -> None:
    """Waits until Redis has taken our folder's claim; raises ``SystemExit`` if it keeps another's jobs."""
    told = False
    while True:
        try:
            claim(redis, settings.data_dir, without_password(settings.redis_url))
            return
        except (ValueError, DiskError) as error:
            raise SystemExit(str(error)) from None
        except RedisError as error:
            if not told:
                log.warning("waiting for Redis: %s", error)
            told = True
            time.sleep(AGAIN_SECONDS)


def run_celery(
    celery: Celery, queue: str, slots: int, settings: WorkerSettings, room: str, arithmetic: str = ""
) -> None:
    """Starts Celery's worker on a pool of threads; returns when a signal has stopped it.

    ``arithmetic`` is the kind of an image worker; only images of this kind come to it.

    Raises ``SystemExit`` if it has ended by itself, as Celery does over bytes that are no message.
    """
    serve_metrics(room, settings)
    redis = command_client(settings.redis_url)
    await_claim(redis, settings)
    asked_to_stop = threading.Event()
    beating = Beating(redis, queue, name(queue), arithmetic)
    listens_to = image_queue(arithmetic) if arithmetic else keys.of_version(queue)
    signals.worker_ready.connect(lambda **_: beating.start(), weak=False)

    @signals.worker_shutting_down.connect(weak=False)
    def stop(**_: object) -> None:
        asked_to_stop.set()
        # It lives in no Python thread, so no lock keeps it from its work.
        faulthandler.dump_traceback_later(settings.stop_seconds + HANG_SECONDS, exit=True)
        beating.stop()

    celery.conf.worker_pool = f"{ThreadPool.__module__}:{ThreadPool.__name__}"
    signals.setup_logging.connect(lambda **_: None, weak=False)  # ours is set up; Celery's is left out
    # It would say that it stops, past all logging.
    celery_worker.safe_say = lambda *_: None  # type: ignore[attr-defined]
    celery.worker_main(
        [
            "--quiet", "worker", f"--concurrency={slots}", f"--queues={listens_to}",
            f"--hostname={name(queue)}", "--without-gossip", "--without-mingle",
            "--without-heartbeat",
        ]
    )  # fmt: skip
    end_traces()
    if not asked_to_stop.is_set():
        raise SystemExit("the worker has ended by itself; its log says why")
