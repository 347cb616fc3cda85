"""Every Redis key of ours, in one place."""

from __future__ import annotations

from contract.versions import TOGETHER

FOLDER = "vitgan:folder"  # string: id of the data folder that this Redis serves, and where it is
JOBS = "vitgan:jobs"  # zset: id -> time of creation
JOBS_RUNNING = "vitgan:jobs:running"  # zset: id -> end of its lease
JOBS_ENDED = "vitgan:jobs:ended"  # zset: id -> time of its end
JOBS_OPEN = "vitgan:jobs:open"  # hash: owner -> number of jobs that have not ended
JOBS_PIXELS = "vitgan:jobs:pixels"  # hash: owner -> pixels of drawing jobs that have not ended
JOBS_SERVED = "vitgan:jobs:served"  # hash: owner -> Redis time of the last claim of a job of theirs
JOB_BYTES = "vitgan:jobs:bytes"  # hash: owner -> bytes that the records of all jobs of theirs take
JOB_RINGS = "vitgan:jobs:rings"  # zset: id of a queued job -> when to ring its doorbell (again)
REAPER = "vitgan:reaper"  # string: the API process that looks after jobs and delivers webhooks
JOB_NAMES = "vitgan:jobs:names"  # hash: model name -> id of the unfinished job that will make it

VERSIONS = "vitgan:workers:versions"  # zset: queue:version -> Redis time of its workers' last beat
ARITHMETIC = f"vitgan:workers:arithmetic:{TOGETHER}"  # zset: kind, space, image worker's id -> last beat
GATES = "vitgan:gates"  # hash: API process -> what it has under way (JSON)
WEBHOOKS_DUE = "vitgan:webhooks:due"  # zset: id of an ended job -> when to tell of it (again)
WEBHOOK_ATTEMPTS = "vitgan:webhooks:attempts"  # hash: id -> deliveries begun, of those that are due
WEBHOOKS_DEAD = "vitgan:webhooks:dead"  # zset: id -> when its delivery was given up
WEBHOOK_REASONS = "vitgan:webhooks:reasons"  # hash: id -> why, of those that are dead


def jobs_queued(kind: str) -> str:
    """Zset: id -> time of creation, of those that wait."""
    return f"vitgan:jobs:queued:{kind}"


def idempotency(client: str, key: str) -> str:
    """String: what the first request under a client's key has settled (JSON)."""
    return f"vitgan:idempotency:{client}:{key}"


def idempotency_of(client: str) -> str:
    """Zset: a client's keys (their hashes) -> Redis time of their first use."""
    return f"vitgan:idempotency:of:{client}"


def jobs_of(owner: str) -> str:
    """Zset: id -> time of creation, of one client's."""
    return f"vitgan:jobs:of:{owner}"


def job(job_id: str) -> str:
    """Hash: the job's record."""
    return f"vitgan:job:{job_id}"


def job_events(job_id: str) -> str:
    """Stream: what has become of the job, the newest ``job_machine.KEEP_EVENTS``."""
    return f"vitgan:job:{job_id}:events"


def of_job(job_id: str, kind: str) -> list[str]:
    """What a job's transitions touch, in the order in which contract/job_machine.py names them."""
    return [
        job(job_id), job_events(job_id), JOBS, jobs_queued(kind), JOBS_RUNNING, JOB_RINGS, JOB_NAMES,
        JOBS_ENDED, WEBHOOKS_DUE, JOBS_OPEN, JOBS_PIXELS,
    ]  # fmt: skip


def of_version(queue: str) -> str:
    """A queue as those of this version name it; also the list of Celery's messages there."""
    return f"{queue}:{TOGETHER}"


def workers(queue: str) -> str:
    """Zset: worker id -> Redis time of its last beat, of workers of this version."""
    return f"vitgan:workers:{of_version(queue)}"


def replies(api_id: str) -> str:
    """List: frames on their way to one API process."""
    return f"vitgan:replies:{api_id}"


def credits(request_id: str) -> str:
    """List: one entry a chunk that a client has taken, or a word that it has gone."""
    return f"vitgan:credits:{request_id}"
