"""Celery's part: two queues, four tasks, and an app that is set up alike on both sides.

Celery only rings. Images answer through ``contract.stream``, jobs are true in ``contract.jobs``: there
is no result backend.
"""

from __future__ import annotations

from celery import Celery

from contract import keys
from contract.arithmetic import PORTABLE
from contract.redis_urls import broker_url

# Queues, which Celery knows as ``keys.of_version`` names them.
GENERATE = "generate"
TRAIN = "train"

GENERATE_TASK = "vitgan.generate"  # draw one batch of images
COMPOSE_TASK = "vitgan.compose"  # of the same queue: draw one file of several seeds
DRAW_TASK = "vitgan.draw"  # of the same queue: a doorbell that carries a job's id
TRAIN_TASK = "vitgan.train"  # a doorbell, too

DOORBELLS = {"draw": DRAW_TASK, "train": TRAIN_TASK}  # by kind of job
QUEUES = {"draw": GENERATE, "train": TRAIN}  # where they ring


def image_queue(arithmetic: str) -> str:
    """The queue of image workers of that kind, as Celery knows it."""
    kind = "" if arithmetic == PORTABLE else f"+{arithmetic}"
    return keys.of_version(f"{GENERATE}{kind}")


def make_celery(redis_url: str, arithmetic: str = PORTABLE) -> Celery:
    """A Celery app on that Redis. Messages are JSON only, and are acknowledged when a thread takes them.

    Later would gain nothing, as jobs and images are looked after by their own means, and an acknowledgement
    that is due when Redis has been away ends the worker (kombu 5.7). Images and drawing jobs go to workers of
    ``arithmetic``, if nothing else is said.
    """
    celery = Celery("vitgan", broker=broker_url(redis_url), set_as_current=False)
    celery.conf.update(
        accept_content=["json"],
        task_serializer="json",
        task_ignore_result=True,
        task_publish_retry=False,  # a retry after a time-out may have rung already
        worker_prefetch_multiplier=1,
        worker_disable_prefetch=True,  # what a busy worker holds back another one could do
        worker_cancel_long_running_tasks_on_connection_loss=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_channel_error_retry=True,  # a Redis whose disk is full refuses, and must end no worker
        broker_transport_options={
            "visibility_timeout": 3600,
            "unacked_restore_interval": 1,
            "unacked_restore_throttle": 1,
            "socket_timeout": 5,
            "socket_connect_timeout": 2,
        },
        task_default_queue=image_queue(arithmetic),
        task_routes={TRAIN_TASK: {"queue": keys.of_version(TRAIN)}},
        worker_hijack_root_logger=False,
        worker_send_task_events=False,
    )
    return celery
