"""Every Redis key of ours, in one place."""

JOBS = "vitgan:jobs"  # zset: id -> time of creation
JOBS_RUNNING = "vitgan:jobs:running"  # zset: id -> end of its lease
JOB_RINGS = "vitgan:jobs:rings"  # zset: id of a queued job -> when to ring its doorbell (again)
REAPER = "vitgan:reaper"  # string: the API process that looks after both
JOB_NAMES = "vitgan:jobs:names"  # hash: model name -> id of the unfinished job that will make it

GATES = "vitgan:gates"  # hash: API process -> what it has under way (JSON)


def jobs_queued(kind: str) -> str:
    """Zset: id -> time of creation, of those that wait."""
    return f"vitgan:jobs:queued:{kind}"


def idempotency(client: str, key: str) -> str:
    """String: what the first request under a client's key has settled (JSON)."""
    return f"vitgan:idempotency:{client}:{key}"


def job(job_id: str) -> str:
    """Hash: the job's record."""
    return f"vitgan:job:{job_id}"


def workers(queue: str) -> str:
    """Zset: worker id -> Redis time of its last beat."""
    return f"vitgan:workers:{queue}"


def replies(api_id: str) -> str:
    """List: frames on their way to one API process."""
    return f"vitgan:replies:{api_id}"


def credits(request_id: str) -> str:
    """List: one entry a chunk that a client has taken, or a word that it has gone."""
    return f"vitgan:credits:{request_id}"
