"""The job machine beside a plain model of it: clients, workers, zombies and reapers in any order.

The scripts run on a real Valkey with a clock of the test's own. That the check can fail is shown by scripts
with a fault put in: each is found.
"""

from __future__ import annotations

import random
import re
import uuid
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from redis import Redis

from contract import job_machine
from contract.jobs import NotTakenError
from tests.contract.job_play import JobMachine
from tests.contract.own_clock import OwnClock


@pytest.fixture
def own_clock(redis: Redis, valkey_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[OwnClock]:
    """Ids of jobs are the same in each run, as hypothesis seeds ``random``."""
    monkeypatch.setattr(uuid, "uuid4", lambda: uuid.UUID(int=random.getrandbits(128)))
    client: OwnClock = OwnClock.from_url(valkey_url, decode_responses=True)
    yield client
    client.close()


ALWAYS_THE_SAME = settings(
    derandomize=True,
    deadline=None,
    max_examples=200,
    stateful_step_count=50,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def test_the_machine_does_what_the_model_does(own_clock: OwnClock) -> None:
    run_state_machine_as_test(lambda: JobMachine(own_clock), settings=ALWAYS_THE_SAME)  # type: ignore[arg-type]


FAULTS = {  # a script, what stands in it once, what stands there instead
    "a stale claim may beat": ("BEAT", r" or fence ~= ARGV.2.", ""),
    "a stale claim may finish": ("FINISH", r" or fence ~= ARGV.2.", ""),
    "a stale claim may release": ("RELEASE", r" or fence ~= ARGV.2.", ""),
    "a claimed job stays in line": ("CLAIM", "redis.call.'ZREM', queued.*", ""),
    "a claimed job rings on": ("CLAIM", "redis.call.'ZREM', rings.*", ""),
    "a claim has the old fence": ("CLAIM", r"'fence', 1\)", "'fence', 0)"),
    "a pause keeps nobody": ("CLAIM", r"tonumber.pause. > now", "false"),
    "a beat renews no lease": ("BEAT", "redis.call.'ZADD', running.*", ""),
    "a reaper trusts an old look": ("REAP", r"or tonumber.lease. > now", ""),
    "a reaped job keeps its fence": ("REAP", r"'fence', 1\)", "'fence', 0)"),
    "a loss more is allowed": ("REAP", "losses >= tonumber", "losses > tonumber"),
    "a worker that stops forgets a cancel": ("RELEASE", "cancel == '1'", "false"),
    "a reaper forgets a cancel": ("REAP", "cancel == '1'", "false"),
    "a failed job keeps its name": ("REAP", "redis.call.'HDEL', names.*", ""),
    "an ended job counts on": ("FINISH", "open, owner, -1", "open, owner, 0"),
    "an ended job is in no index": ("FINISH", "redis.call.'ZADD', ended.*", ""),
    "a claim is told nobody": ("CLAIM", "become.'running'.", "redis.call('HSET', job, 'status', 'running')"),
    "a forgotten job leaves its events": ("FORGET", "'DEL', job, events", "'DEL', job"),
    "a forgotten job takes room for ever": ("FORGET", "owner, -size", "owner, 0"),
    "a cancelled job is kept a month": ("CANCEL", "now - keep . brief", "now"),
    "one job more may wait": ("CREATE", "'ZCARD', queued. >=", "'ZCARD', queued) >"),
    "one job more may be unfinished": ("CREATE", "unfinished >=", "unfinished >"),
    "a repeated job is begun anew": ("CREATE", "'EXISTS', job. == 1", "'EXISTS', job) == 2"),
    "a released job has no ring": ("RELEASE", "redis.call.'ZADD', rings.*", ""),
    "a released job stands last": ("RELEASE", "queued, created", "queued, now"),
    "a cancelled job rings on": ("CANCEL", "redis.call.'ZREM', rings.*", ""),
    "a doorbell rings too often": ("RING", r"ARGV.2. \* 2 . rings", "ARGV[2]"),
    "two reapers are elected": ("ELECT", r"owner ~= ARGV.1.", "false"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_a_script_is_found(
    own_clock: OwnClock, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    script, text, instead = FAULTS[fault]
    faulty, times = re.subn(text, instead, getattr(job_machine, script))
    assert times == 1
    monkeypatch.setattr(job_machine, script, faulty)
    first_failure = settings(ALWAYS_THE_SAME, phases=[Phase.generate], report_multiple_bugs=False)
    with pytest.raises((AssertionError, NotTakenError, pytest.fail.Exception)):
        run_state_machine_as_test(lambda: JobMachine(own_clock), settings=first_failure)  # type: ignore[arg-type]
