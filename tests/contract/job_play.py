"""The play: clients, workers, zombies, reapers say anything in any order, to the store and to the model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from contract import keys
from contract.jobs import Claim, Job, JobFinishedError, JobStore, NotTakenError
from contract.messages import COLOUR_PNG, DrawRequest, Images, Side, TrainRequest
from tests.contract.job_laws import Laws
from tests.contract.job_model import MOST_OPEN, MOST_QUEUED, UNFINISHED
from tests.contract.own_clock import CLOCK, OwnClock

KINDS = {"train": TrainRequest, "draw": DrawRequest}
DRAWING = Images(seeds=(1,), truncation=1, columns=Side.whole(8), rows=Side.whole(8), form=COLOUR_PNG)


def among(*attributes: str) -> st.SearchStrategy[Any]:
    """One of what the machine's attributes hold: first which of them, then which of its values."""

    def drawn(machine: Any) -> st.SearchStrategy[Any]:
        return st.one_of([st.sampled_from(held) for name in attributes if (held := getattr(machine, name))])

    return st.runner().flatmap(drawn)


JOB_IDS, QUEUED, ENDED = among("job_ids"), among("queued"), among("ended")
LIVE, STALE = among("live"), among("robbed", "stale")
WORDS = st.sampled_from(("beat", "release", "succeed", "fail", "cancelled"))
somebody_waits = precondition(lambda machine: machine.queued)
somebody_works = precondition(lambda machine: machine.live)


class JobMachine(Laws):
    """Says everything to the store and to the model, and compares."""

    def __init__(self, redis: OwnClock) -> None:
        super().__init__(redis)
        self.store = JobStore(redis)
        self.pass_time(0)
        for kind, name in (("train", "a"), ("draw", ""), ("train", "b"), ("draw", "")):
            self.create(kind, name, 0.25)

    @property
    def job_ids(self) -> list[str]:
        return [*self.model.jobs]

    @property
    def queued(self) -> list[str]:
        return [job.id for job in self.model.jobs.values() if job.status == "queued"]

    @property
    def running(self) -> list[str]:
        return [job.id for job in self.model.jobs.values() if job.status == "running"]

    @property
    def unfinished(self) -> list[str]:
        return [job.id for job in self.model.jobs.values() if job.status in UNFINISHED]

    @property
    def ended(self) -> list[str]:
        return [job_id for job_id in self.model.jobs if job_id not in self.unfinished]

    @property
    def live(self) -> list[Claim[Any]]:
        jobs = self.model.jobs
        return [c for c in self.claims if c.job_id in jobs and jobs[c.job_id].held_by(c.fence)]

    @property
    def stale(self) -> list[Claim[Any]]:
        return [claim for claim in self.claims if claim not in self.live]

    @property
    def robbed(self) -> list[Claim[Any]]:
        """Stale claims of jobs that others hold now."""
        return [claim for claim in self.stale if claim.job_id in self.running]

    # clients

    @precondition(lambda self: len(self.unfinished) < 4)
    @rule(
        kind=st.sampled_from(sorted(KINDS)), name=st.sampled_from("ab"), wait=st.sampled_from((0.25, 0)),
        owner=st.sampled_from(("one", "other")),
    )  # fmt: skip
    def create(self, kind: str, name: str, wait: float = 0, owner: str = "one") -> None:
        self.pass_time(wait)
        request: TrainRequest | DrawRequest = DrawRequest(model="m", digest="d", what=DRAWING)
        if kind == "train":
            request = TrainRequest(dataset="d", preset="vitgan-ti-32", name=name, kimg=1, seed=0)
        bounds = {"most_queued": MOST_QUEUED, "most_open": MOST_OPEN}
        if refusal := self.model.refuses(kind, name, owner):
            with pytest.raises(NotTakenError) as told:
                self.store.create(request, owner, **bounds)
            assert told.type.__name__ == refusal
        else:
            job_id = self.store.create(request, owner, **bounds)
            self.model.create(job_id, kind, name if kind == "train" else job_id, owner)

    @precondition(lambda self: self.model.jobs)
    @rule(job_id=among("job_ids"))
    def create_again(self, job_id: str) -> None:
        """A request that is repeated: the job is there, whatever has become of it."""
        job = self.model.jobs[job_id]
        request = TrainRequest(dataset="d", preset="vitgan-ti-32", name=job.name[:1], kimg=1, seed=0)
        assert self.store.create(request, job.owner, job_id=job_id, most_queued=0, most_open=0) == job_id

    @precondition(lambda self: self.unfinished)
    @rule(job_id=among("unfinished"))
    def cancel(self, job_id: str) -> None:
        self.model.cancel(job_id)
        self.store.request_cancel(job_id)

    @precondition(lambda self: self.ended)
    @rule(job_id=ENDED)
    def ask_too_late(self, job_id: str) -> None:
        with pytest.raises(JobFinishedError):
            self.store.request_cancel(job_id)
        assert self.store.claim(job_id, KINDS[self.model.jobs[job_id].kind]) is None

    @rule(limit=st.integers(1, 4), before=st.none() | JOB_IDS)
    def list(self, limit: int, before: str | None) -> None:
        newest = self.model.newest()
        start = newest.index(before) + 1 if before else 0
        listed = self.store.list(limit, before)
        assert [job.id for job in listed] == newest[start : start + limit]
        for job in listed:
            self.agrees(job)

    # workers

    @somebody_waits
    @rule(job_id=QUEUED)
    def claim(self, job_id: str) -> None:
        claim = self.store.claim(job_id, KINDS[self.model.jobs[job_id].kind])
        assert (claim.fence if claim else None) == self.model.claim(job_id)
        self.claims += [claim] if claim else []

    @somebody_works
    @rule(claim=LIVE, kimg=st.none() | st.integers(1, 9))
    def beat(self, claim: Claim[Any], kimg: int | None = None) -> None:
        progress = {"kimg": kimg} if kimg else None
        assert self.store.beat(claim, progress) == self.model.beat(claim.job_id, claim.fence, progress)

    @somebody_works
    @rule(claim=LIVE, how=st.sampled_from(("succeed", "fail", "cancelled")))
    def finish(self, claim: Claim[Any], how: str) -> None:
        result, error = {"model": "a"}, "no"
        said = {
            "succeed": lambda: self.store.succeed(claim, result),
            "fail": lambda: self.store.fail(claim, error),
            "cancelled": lambda: self.store.cancelled(claim),
        }
        assert said[how]() == self.model.finish(claim.job_id, claim.fence, how, result, error)

    @somebody_works
    @rule(claim=LIVE)
    def release(self, claim: Claim[Any]) -> None:
        assert self.store.release(claim) == self.model.release(claim.job_id, claim.fence)

    @precondition(lambda self: self.stale)
    @rule(claim=STALE, word=WORDS)
    def a_zombie_speaks(self, claim: Claim[Any], word: str) -> None:
        self.say(claim, word)

    def say(self, claim: Claim[Any], word: str) -> None:
        if word in ("beat", "release"):
            getattr(self, word)(claim)
        else:
            self.finish(claim, word)

    @somebody_works
    @rule(claim=LIVE)
    def claim_what_another_holds(self, claim: Claim[Any]) -> None:
        self.claim(claim.job_id)

    @somebody_waits
    @rule(job_id=QUEUED, word=WORDS)
    def a_worker_freezes_and_is_robbed(self, job_id: str, word: str) -> None:
        self.pass_time(5)
        self.claim(job_id)
        frozen = self.claims[-1]
        self.pass_time(25)
        self.reap()
        self.claim(job_id)  # too soon
        self.pass_time(5)
        self.claim(job_id)
        self.say(frozen, word)

    # reapers: between their look and what they do, anything may happen

    @somebody_works
    @rule(claim=LIVE, meanwhile=st.sampled_from(("beat", "release", "succeed", "reap")))
    def reap_meanwhile(self, claim: Claim[Any], meanwhile: str) -> None:
        self.pass_time(25)
        self.reap(self.reap if meanwhile == "reap" else lambda: self.say(claim, meanwhile))

    @rule()
    def reap(self, meanwhile: Callable[[], None] | None = None) -> None:
        looked, self.redis.interrupt = self.model.expired(), meanwhile
        reaped = self.store.reap()
        due = [job_id for job_id in looked if job_id in self.model.expired()]
        for job_id in due:
            self.model.reap(job_id)
        assert sorted(reaped) == sorted(due)

    @somebody_waits
    @rule(job_id=QUEUED, meanwhile=st.sampled_from(("claim", "cancel", "due_rings")))
    def ring_meanwhile(self, job_id: str, meanwhile: str) -> None:
        """What is claimed so is known to nobody, as if its worker had died at once."""
        self.due_rings(
            self.due_rings if meanwhile == "due_rings" else lambda: getattr(self, meanwhile)(job_id)
        )

    @rule()
    def due_rings(self, meanwhile: Callable[[], None] | None = None) -> None:
        looked, self.redis.interrupt = self.model.ringing(), meanwhile
        rung = self.store.due_rings()
        due = [job_id for job_id in looked if job_id in self.model.ringing()]
        for job_id in due:
            self.model.ring(job_id)
        assert sorted(rung) == sorted((job_id, self.model.jobs[job_id].kind) for job_id in due)

    @precondition(lambda self: self.ended)
    @rule(twice=st.booleans(), seconds=st.sampled_from((3600, 30 * 86_400)))
    def forget(self, twice: bool = False, seconds: float = 30 * 86_400) -> None:
        """An hour or a month later; perhaps another process is faster."""
        self.pass_time(seconds)
        old = self.model.forget()
        forgotten: list[str] = []
        self.redis.interrupt = (lambda: forgotten.extend(self.store.forget())) if twice else None
        forgotten += self.store.forget()
        assert sorted(forgotten) == sorted(old)
        assert not any(self.redis.exists(keys.job(job_id), keys.job_events(job_id)) for job_id in old)

    @rule(reaper=st.sampled_from(("first", "second")))
    def elect(self, reaper: str) -> None:
        assert self.store.elect(reaper, 3600) == self.model.elect(reaper)

    @rule()
    def term_ends(self) -> None:
        self.redis.delete(keys.REAPER)
        self.model.reaper = None

    # the clock

    @rule(seconds=st.sampled_from((1, 5, 15, 25, 70, 300)) | st.sampled_from((-0.25, -1, -3)))
    def pass_time(self, seconds: float) -> None:
        self.model.now += seconds
        self.redis.set(CLOCK, self.model.now)

    def agrees(self, job: Job) -> None:
        model = self.model.jobs[job.id]
        told = job.model_dump(include=set(vars(model)) & set(Job.model_fields))
        assert told == {name: vars(model)[name] for name in told}
        line = self.model.waiting(model.kind)
        assert job.position == (line.index(job.id) if job.id in line else None)
