"""The training worker's process. It loads no PyTorch: each training is a process of its own."""

from __future__ import annotations

import threading

from celery import signals

from contract.jobs import JobStore
from contract.logs import set_up_logs
from contract.metrics import TRAINER
from contract.queue import TRAIN, TRAIN_TASK, make_celery
from contract.redis_client import command_client
from worker.process import run_celery
from worker.settings import WorkerSettings
from worker.trainer import run_job, sweep_runs


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

    run_celery(celery, TRAIN, 1, settings, TRAINER)
