from __future__ import annotations

import json
import logging
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextvars import copy_context

import pytest
from structlog.contextvars import bound_contextvars

from app.settings import AppSettings
from contract.logs import bound, set_up_logs
from contract.settings import SharedSettings

PASSWORD = "p%40ss%2Fword-of-redis"
log = logging.getLogger("tests.log")
Said = Callable[[], str]


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Iterator[Said]:
    """Gives what has been written to standard error; the logging of before comes back."""
    root, hook = logging.getLogger(), sys.excepthook
    handlers, level = root.handlers[:], root.level
    yield lambda: capsys.readouterr().err
    root.handlers[:], root.level, sys.excepthook = handlers, level, hook
    logging.captureWarnings(False)


def lines(said: Said) -> list[dict[str, object]]:
    return [json.loads(line) for line in said().splitlines()]


def test_each_line_is_an_object_that_says_who_when_and_for_whom(said: Said) -> None:
    set_up_logs("worker", SharedSettings(log="json"))
    with bound_contextvars(request_id="r1", job_id="j1"):
        assert bound("request_id") == "r1"
        log.warning("model %s is %s: ünïcode, \n a new line", "m", {"a": 1})
        threading.Thread(target=copy_context().run, args=(log.info, "from a thread")).start()
    log.info("later")
    first, second, third = lines(said)
    assert first["event"] == "model m is {'a': 1}: ünïcode, \n a new line"
    assert (first["level"], first["logger"], first["room"]) == ("warning", "tests.log", "worker")
    assert str(first["timestamp"]).endswith("Z")
    assert (first["request_id"], first["job_id"]) == (second["request_id"], second["job_id"]) == ("r1", "j1")
    assert "request_id" not in third
    assert bound("request_id") == ""


def test_a_traceback_is_one_line_without_the_values_of_variables(said: Said) -> None:
    set_up_logs("api", SharedSettings(log="json"))
    hidden = "a value of a variable"
    try:
        raise ValueError(f"of {len(hidden)} letters")
    except ValueError:
        log.exception("it failed")
    (line,) = lines(said)
    assert "ValueError: of 21 letters" in str(line["exception"])
    assert hidden not in str(line["exception"]).replace('hidden = "', "")


@pytest.mark.parametrize("form", ["json", "console"])
def test_no_secret_is_ever_logged(said: Said, form: str) -> None:
    secrets = [
        "p@ss/word-of-redis",
        PASSWORD,
        'of"bytes"\\',
        "whsec_c2VjcmV0",
        "vg_0a1b2c3d_" + "k" * 43,
        "tok-en",
    ]
    url = f"redis://user:{PASSWORD}@redis.example.org:6379/0"
    settings = AppSettings(
        redis_url=url, bytes_redis_url='redis://:of"bytes"\\@host', webhook_secret="whsec_c2VjcmV0", log=form
    )
    set_up_logs("api", settings)
    log.warning("cannot connect to %s", url)
    log.warning("settings: %s", {"password": secrets[0], "other": secrets[2], "webhook": secrets[3]})
    log.warning("Authorization: Bearer %s and a key %s", secrets[5], secrets[4])
    log.warning("another one: redis://x:short@10.0.0.1/0 and https://example.org/a:b?c=d@e")
    try:
        raise ConnectionError(url)
    except ConnectionError:
        log.exception("it failed")
    told = said()
    for secret in [*secrets, "short", json.dumps(secrets[2])[1:-1]]:
        assert secret not in told
    assert "redis.example.org" in told
    assert "https://example.org/a:b?c=d@e" in told


def test_people_read_lines(said: Said) -> None:
    set_up_logs("api", SharedSettings())
    with bound_contextvars(job_id="j1"):
        log.info("job %s is queued", "j1")
    log.debug("too small")
    (line,) = said().splitlines()
    assert "job j1 is queued" in line
    assert "job_id=j1" in line
    assert "\x1b" not in line  # no terminal, no colours


def test_the_level_can_be_chosen_and_libraries_stay_quiet(said: Said) -> None:
    set_up_logs("api", SharedSettings(log="json", log_level="debug"))
    log.debug("small")
    for name in ("celery.worker", "httpx", "kombu"):
        logging.getLogger(name).info("chatter")
    assert [line["event"] for line in lines(said)] == ["small"]


def test_a_process_that_an_error_ends_says_so_in_its_log() -> None:
    code = (
        "from contract.logs import set_up_logs; from contract.settings import SharedSettings\n"
        "set_up_logs('worker', SharedSettings(log='json')); raise RuntimeError('the end')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    line = json.loads(done.stderr)
    assert line["level"] == "critical"
    assert "RuntimeError: the end" in line["exception"]


def test_what_a_client_gives_forges_no_line(said: Said) -> None:
    set_up_logs("api", SharedSettings(log="console", log_level="debug"))
    log.debug("GET %s 404", "/x\n2026-01-01 [info] all is well\x1b[2J\u2028end")
    with bound_contextvars(request_id="a\x1b[1A\x1b[2Kb"):
        log.info("asked")
    line, other = said().splitlines()
    assert "a\\x1b[1A\\x1b[2Kb" in other
    assert "/x\\n2026-01-01 [info] all is well\\x1b[2J\\u2028end" in line
