"""How workers and jobs stand in the whole service, as Redis knows it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from redis import Redis

from contract import keys
from contract.arithmetic import PORTABLE
from contract.metrics import KINDS, QUEUES
from contract.presence import ALIVE_SECONDS
from contract.queue import GENERATE, image_queue


@dataclass(frozen=True)
class Census:
    """Numbers of one moment; queues and kinds of job as contract/queue.py names them."""

    workers: Mapping[str, int]  # by queue, those that have beaten lately
    others: Mapping[str, int]  # by queue, versions other than this whose workers have
    messages: Mapping[str, int]  # by queue, in Celery's lists
    queued: Mapping[str, int]  # jobs by kind
    running: Mapping[str, int]  # jobs by kind
    oldest: Mapping[str, float]  # by kind, seconds that the oldest queued job has waited; 0 if there is none
    webhooks_due: int
    webhooks_dead: int


def census(redis: Redis) -> Census:
    """Counts (a client with ``decode_responses=True``), in a few round trips; raises ``RedisError``."""
    with redis.pipeline(transaction=False) as pipe:
        pipe.time()
        pipe.zrange(keys.JOBS_RUNNING, 0, -1)
        pipe.zcard(keys.WEBHOOKS_DUE)
        pipe.zcard(keys.WEBHOOKS_DEAD)
        for queue in QUEUES:
            pipe.llen(keys.of_version(queue))
        for kind in KINDS:
            pipe.zcard(keys.jobs_queued(kind))
            pipe.zrange(keys.jobs_queued(kind), 0, 0, withscores=True)
        (seconds, _), running, due, dead, *rest = pipe.execute()
        pipe.zrangebyscore(keys.VERSIONS, seconds - ALIVE_SECONDS, "+inf")
        for queue in QUEUES:
            pipe.zcount(keys.workers(queue), seconds - ALIVE_SECONDS, "+inf")
        for job_id in running:
            pipe.hget(keys.job(job_id), "kind")
        pipe.zrange(keys.ARITHMETIC, 0, -1)
        versions, *workers_and_kinds, image_workers = pipe.execute()
    messages, jobs = rest[: len(QUEUES)], rest[len(QUEUES) :]
    waiting = dict(zip(QUEUES, messages, strict=True))
    for arithmetic in {member.partition(" ")[0] for member in image_workers} - {PORTABLE}:
        waiting[GENERATE] += redis.llen(image_queue(arithmetic))
    of_kinds = Counter(workers_and_kinds[len(QUEUES) :])
    return Census(
        workers=dict(zip(QUEUES, workers_and_kinds, strict=False)),
        others={
            queue: sum(v.startswith(f"{queue}:") and v != keys.of_version(queue) for v in versions)
            for queue in QUEUES
        },
        messages=waiting,
        queued=dict(zip(KINDS, jobs[::2], strict=True)),
        running={kind: of_kinds[kind] for kind in KINDS},
        oldest={kind: _age(first, seconds) for kind, first in zip(KINDS, jobs[1::2], strict=True)},
        webhooks_due=due,
        webhooks_dead=dead,
    )


def _age(first: list[tuple[Any, float]], now: float) -> float:
    return max(0.0, now - first[0][1]) if first else 0.0
