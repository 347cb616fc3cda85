"""What always holds of jobs, whatever has happened: asked of Redis after every step."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

from hypothesis.stateful import RuleBasedStateMachine, invariant

from contract import keys
from contract.jobs import Claim
from tests.contract.job_model import UNFINISHED, JobModel
from tests.contract.own_clock import OwnClock

KINDS = ("draw", "train")


class Laws(RuleBasedStateMachine):
    """Of an empty Redis at first, and of a model of what should be in it."""

    def __init__(self, redis: OwnClock) -> None:
        super().__init__()
        self.redis = redis
        redis.flushdb()
        redis.interrupt = None
        self.model = JobModel(now=1000.0)
        self.claims: list[Claim[Any]] = []
        self.fences: dict[str, int] = {}  # the highest seen
        self.last_words: dict[str, dict[str, str]] = {}  # records as they were when their jobs ended

    @invariant()
    def the_records_agree(self) -> None:
        for job_id, record in self.records():
            job = self.model.jobs[job_id]
            expected = (job.kind, job.name, job.status, job.attempts, job.losses, job.fence, job.cancel)
            numbers = [int(record[name]) for name in ("attempts", "losses", "fence", "cancel")]
            assert (record["kind"], record["name"], record["status"], *numbers) == expected
            assert float(record["created_at"]) == job.created_at
            assert record.get("error") == job.error
            for part, status in (("error", "failed"), ("result", "succeeded")):
                assert (part in record) == (record["status"] == status)

    @invariant()
    def fences_only_rise_and_no_two_claims_have_one(self) -> None:
        for job_id, record in self.records():
            assert int(record["fence"]) >= self.fences.get(job_id, 0)
            self.fences[job_id] = int(record["fence"])
            claimed = [claim.fence for claim in self.claims if claim.job_id == job_id]
            assert sorted(set(claimed)) == claimed

    @invariant()
    def what_has_ended_never_changes(self) -> None:
        for job_id, record in self.records():
            if record["status"] not in UNFINISHED:
                assert record == self.last_words.setdefault(job_id, record)

    @invariant()
    def the_indexes_agree(self) -> None:
        jobs = self.model.jobs.values()
        for kind in KINDS:
            waiting = [(job_id, self.model.jobs[job_id].created_at) for job_id in self.model.waiting(kind)]
            assert [*self.scores(keys.jobs_queued(kind)).items()] == waiting
        assert self.scores(keys.JOBS_RUNNING) == {job.id: job.lease for job in jobs if job.lease is not None}
        assert self.scores(keys.JOB_RINGS) == {job.id: job.due for job in jobs if job.due is not None}
        ended = {job.id: job.kept_until() - 30 * 86_400 for job in jobs if job.finished_at is not None}
        assert self.scores(keys.JOBS_ENDED) == ended
        assert self.scores(keys.JOBS) == {job.id: job.created_at for job in jobs}

    @invariant()
    def exactly_the_queued_have_rings_and_the_unfinished_names(self) -> None:
        """Asked of the records alone, whatever the model believes."""
        now = {job_id: record["status"] for job_id, record in self.records()}
        assert set(self.scores(keys.JOB_RINGS)) == {i for i, status in now.items() if status == "queued"}
        assert set(self.scores(keys.JOBS_RUNNING)) == {i for i, status in now.items() if status == "running"}
        held = self.redis.hgetall(keys.JOB_NAMES)
        assert sorted(held.values()) == sorted(i for i, status in now.items() if status in UNFINISHED)  # type: ignore[union-attr]
        assert held == {self.model.jobs[i].name: i for i, status in now.items() if status in UNFINISHED}
        pixels = Counter[str]()
        for _, record in self.records():
            if record["status"] in UNFINISHED:
                pixels[record["owner"]] += int(record.get("pixels", 0))
        assert self.redis.hgetall(keys.JOBS_PIXELS) == {owner: str(n) for owner, n in pixels.items() if n}
        owners = Counter(record["owner"] for _, record in self.records() if record["status"] in UNFINISHED)
        sizes: Counter[str] = Counter()
        for _, record in self.records():
            assert int(record["size"]) > len(record["request"])
            sizes[record["owner"]] += int(record["size"])
        assert self.redis.hgetall(keys.JOB_BYTES) == {owner: str(size) for owner, size in sizes.items()}
        assert self.redis.hgetall(keys.JOBS_OPEN) == {owner: str(n) for owner, n in owners.items()}

    @invariant()
    def the_events_tell_every_status(self) -> None:
        pipe = self.redis.pipeline(transaction=False)
        for job_id in self.model.jobs:
            pipe.xrange(keys.job_events(job_id))
        for job, events in zip(self.model.jobs.values(), pipe.execute(), strict=True):
            told = [json.loads(event["data"]) for _, event in events if event["type"] == "status"]
            assert [data["status"] for data in told] == job.told

    def records(self) -> Iterator[tuple[str, dict[str, str]]]:
        pipe = self.redis.pipeline(transaction=False)
        for job_id in self.model.jobs:
            pipe.hgetall(keys.job(job_id))
        return zip(self.model.jobs, pipe.execute(), strict=True)

    def scores(self, key: str) -> dict[str, float]:
        return dict(self.redis.zrange(key, 0, -1, withscores=True))  # type: ignore[arg-type]
