"""What the job machine should do, said plainly in Python: no Redis, no script, one clock that is told."""

from __future__ import annotations

from dataclasses import dataclass, field

UNFINISHED = ("queued", "running")
MOST_QUEUED, MOST_OPEN = 2, 3  # of a kind that wait, of an owner that are unfinished


@dataclass
class ModelJob:
    """One job."""

    id: str
    kind: str
    name: str
    owner: str
    created_at: float
    due: float | None  # its doorbell rings then; None while it does not wait
    status: str = "queued"
    attempts: int = 0
    losses: int = 0
    fence: int = 0
    rings: int = 0
    cancel: bool = False
    pause: float = 0.0  # not claimed before that
    lease: float | None = None  # a worker holds it until then
    progress: dict[str, int] | None = None
    error: str | None = None
    result: dict[str, str] | None = None
    started_at: float | None = None
    finished_at: float | None = None
    told: list[str] = field(default_factory=lambda: ["queued"])  # every status it had

    def become(self, status: str) -> None:
        self.status = status
        self.told.append(status)

    def kept_until(self) -> float:
        """A month after its end; if it was cancelled, an hour."""
        assert self.finished_at is not None
        return self.finished_at + (3600 if self.status == "cancelled" else 30 * 86_400)

    def held_by(self, fence: int) -> bool:
        """Whether a claim with that fence counts."""
        return self.status == "running" and self.fence == fence


@dataclass
class JobModel:
    """All jobs, and what may happen to them; each method is what the store's of that name should do."""

    now: float
    jobs: dict[str, ModelJob] = field(default_factory=dict)
    reaper: str | None = None

    def taken(self, name: str) -> bool:
        return any(job.name == name and job.status in UNFINISHED for job in self.jobs.values())

    def refuses(self, kind: str, name: str, owner: str) -> str | None:
        """Why a new job is not taken: the error's name."""
        if len(self.waiting(kind)) == MOST_QUEUED:
            return "QueueFullError"
        if sum(job.owner == owner and job.status in UNFINISHED for job in self.jobs.values()) == MOST_OPEN:
            return "QuotaUsedError"
        return "NameTakenError" if kind == "train" and self.taken(name) else None

    def create(self, job_id: str, kind: str, name: str, owner: str) -> None:
        self.jobs[job_id] = ModelJob(job_id, kind, name, owner, created_at=self.now, due=self.now + 10)

    def claim(self, job_id: str) -> int | None:
        """The fence, if it is to be had."""
        job = self.jobs[job_id]
        if job.status != "queued" or job.pause > self.now:
            return None
        job.become("running")
        job.lease, job.due = self.now + 20, None
        job.attempts += 1
        job.fence += 1
        if job.started_at is None:
            job.started_at = self.now
        return job.fence

    def beat(self, job_id: str, fence: int, progress: dict[str, int] | None) -> str:
        job = self.jobs.get(job_id)
        if job is None or not job.held_by(fence):
            return "lost"
        job.lease = self.now + 20
        job.progress = progress or job.progress
        return "cancel" if job.cancel else "go on"

    def finish(self, job_id: str, fence: int, how: str, result: dict[str, str], error: str) -> bool:
        job = self.jobs.get(job_id)
        if job is None or not job.held_by(fence):
            return False
        self._finish(job, {"succeed": "succeeded", "fail": "failed"}.get(how, how))
        job.result = result if how == "succeed" else None
        job.error = error if how == "fail" else None
        return True

    def release(self, job_id: str, fence: int) -> bool:
        job = self.jobs.get(job_id)
        if job is None or not job.held_by(fence):
            return False
        if job.cancel:
            self._finish(job, "cancelled")
        else:
            self._queue(job, self.now)
        return True

    def cancel(self, job_id: str) -> None:
        """Of an unfinished one."""
        job = self.jobs[job_id]
        if job.status == "queued":
            self._finish(job, "cancelled")
        else:
            job.cancel = True

    def expired(self) -> list[str]:
        return [job.id for job in self.jobs.values() if job.lease is not None and job.lease <= self.now]

    def reap(self, job_id: str) -> None:
        job = self.jobs[job_id]
        job.losses += 1
        job.fence += 1
        if job.cancel:
            self._finish(job, "cancelled")
        elif job.losses == 3:
            self._finish(job, "failed")
            job.error = "its worker was lost 3 times, so it is not tried again"
        else:
            job.pause = self.now + {1: 2, 2: 4}[job.losses]
            self._queue(job, job.pause)

    def ringing(self) -> list[str]:
        return [job.id for job in self.jobs.values() if job.due is not None and job.due <= self.now]

    def ring(self, job_id: str) -> None:
        job = self.jobs[job_id]
        job.rings += 1
        job.due = self.now + (20, 40, 60)[min(job.rings, 3) - 1]

    def forget(self) -> list[str]:
        old = [j.id for j in self.jobs.values() if j.finished_at is not None and j.kept_until() <= self.now]
        for job_id in old:
            del self.jobs[job_id]
        return old

    def elect(self, reaper: str) -> bool:
        self.reaper = self.reaper or reaper
        return self.reaper == reaper

    def waiting(self, kind: str) -> list[str]:
        """Ids in the order in which they stand in line."""
        line = [job for job in self.jobs.values() if job.status == "queued" and job.kind == kind]
        return [job.id for job in sorted(line, key=lambda job: (job.created_at, job.id))]

    def newest(self) -> list[str]:
        return sorted(self.jobs, key=lambda job_id: (self.jobs[job_id].created_at, job_id), reverse=True)

    def _queue(self, job: ModelJob, due: float) -> None:
        job.become("queued")
        job.lease, job.due, job.rings = None, due, 0

    def _finish(self, job: ModelJob, status: str) -> None:
        job.become(status)
        job.lease, job.due, job.finished_at = None, None, self.now
