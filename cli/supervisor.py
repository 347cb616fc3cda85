"""``vitgan up``: Redis, an image worker, a training worker and the API, started and stopped together.

One that ends by itself is started again (cli/children.py); what it had begun is taken over or goes on.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO
from urllib.parse import quote

import httpx
from redis import Redis, RedisError

from app.key_file import read_keys
from app.listening import check_host
from app.settings import AppSettings
from cli.children import Child
from cli.settings import tell_unknown
from contract.claim import claim
from contract.disk import DiskError
from contract.presence import alive
from contract.queue import GENERATE, TRAIN
from contract.reading import read_settings
from contract.redis_client import command_client
from contract.redis_urls import without_password
from contract.settings import SharedSettings
from contract.startup import check_folder, check_redis
from worker.settings import WorkerSettings

READY_SECONDS = 90  # a cold disk may take long to load PyTorch
STOP_SECONDS = 7.5  # for API and workers together; what is left then is killed
REDIS_SECONDS = 2.0  # for Valkey after them
FIRST = Path("first.png")
FIRST_SEED = 11


class UpError(Exception):
    """Why the service cannot run, as a sentence."""


def run(host: str, port: int) -> int:
    """Starts everything, says when it is ready, and waits for a signal; gives the exit code."""
    children: list[Child] = []
    stop = _Stop()
    try:
        settings = _settings(host)
        keys = settings.api_keys_file
        with _data_folder(settings.data_dir):
            check_port(host, port)
            _start(children, host, port, settings, stop)
            if keys:
                _say_keys(host, port, keys)
            else:
                _draw_first(host, port)
            print("Ctrl-C stops everything.", flush=True)
            while not stop.asked:
                _revive(children)
                time.sleep(0.2)
    except _StopAsked:
        pass
    except UpError as error:
        print(f"vitgan up: {error}", file=sys.stderr)
        return 1
    finally:
        _stop(children)
    print("stopped")
    return 0


class _StopAsked(Exception):
    """A signal came while we were starting."""


class _Stop:
    """Remembers that Ctrl-C or SIGTERM came."""

    def __init__(self) -> None:
        self.asked = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._ask)

    def _ask(self, number: int, frame: object) -> None:
        self.asked = True

    def check(self) -> None:
        if self.asked:
            raise _StopAsked


@contextlib.contextmanager
def _data_folder(folder: Path) -> Iterator[None]:
    """The data folder, for this service alone while it runs."""
    try:
        check_folder(folder)
        (folder / "logs").mkdir(mode=0o700, exist_ok=True)
        (folder / "logs").chmod(0o700)  # of an older version, which let others read it
        lock: IO[bytes] = (folder / "lock").open("wb")
    except ValueError as error:
        raise UpError(str(error)) from None
    except OSError as error:
        raise UpError(f"cannot write to {folder}: {error.strerror}, set VITGAN_DATA_DIR") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UpError(
                f"another `vitgan up` uses {folder.resolve()}: stop it, or set VITGAN_DATA_DIR"
            ) from None
        if folder.stat().st_mode & 0o005:
            path = shlex.quote(str(folder))
            print(
                f"vitgan up: other users of this machine can read {path}: chmod 700 {path}", file=sys.stderr
            )
        yield


def _settings(host: str) -> AppSettings:
    """The API's; raises ``UpError`` if they are wrong, or the workers' are, or it cannot listen there so."""
    tell_unknown()
    try:
        read_settings(WorkerSettings)
        settings = read_settings(AppSettings)
        check_host(host, settings)
        if settings.api_keys_file:
            read_keys(settings.api_keys_file)
    except ValueError as error:
        raise UpError(str(error)) from None
    return settings


def check_port(host: str, port: int) -> None:
    """Raises ``UpError`` if nothing can listen there."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise UpError(f"port {port} is in use: stop what uses it, or set PORT") from None
            raise UpError(f"cannot listen on {host}:{port}: {error.strerror}") from None


def _start(children: list[Child], host: str, port: int, settings: SharedSettings, stop: _Stop) -> None:
    env = dict(os.environ)
    logs = settings.data_dir / "logs"
    if "redis_url" in settings.model_fields_set:
        url = settings.redis_url
    else:
        url = _embed("valkey", settings, children, env, logs)
        if settings.bytes_redis_url is None:
            env["VITGAN_BYTES_REDIS_URL"] = _embed("valkey-bytes", settings, children, env, logs, "--forgets")
    env["REDIS_URL"] = url
    redis = command_client(url)
    _await_redis(redis, url, children, stop, READY_SECONDS if children else 5)
    try:
        claim(redis, settings.data_dir, without_password(url))
    except (ValueError, DiskError) as error:
        raise UpError(str(error)) from None
    for name, command, own in (
        ("image-worker", ["worker"], {}),
        ("training-worker", ["trainer"], _next_port(env)),
        ("api", ["api", "--host", host, "--port", str(port)], {}),
    ):
        children.append(Child(name, command, env | own, logs))
    _await("image worker", lambda: _is_alive(redis, GENERATE), children, stop)
    _await("training worker", lambda: _is_alive(redis, TRAIN), children, stop)
    _await("api", lambda: _answers(f"{_address(host, port)}/readyz"), children, stop)


def _next_port(env: dict[str, str]) -> dict[str, str]:
    """For the second worker of this host: Prometheus finds the first one at the port that was given."""
    given = env.get("VITGAN_METRICS_PORT", "")
    return {"VITGAN_METRICS_PORT": str(int(given) + 1)} if given.isdecimal() and int(given) else {}


def _embed(
    name: str,
    settings: SharedSettings,
    children: list[Child],
    env: dict[str, str],
    logs: Path,
    *options: str,
) -> str:
    """Starts a Valkey of our own, with a password that others of this machine do not know; gives its URL."""
    port, given = _free_port(), settings.redis_password
    password = given.get_secret_value() if given else secrets.token_urlsafe(32)
    command = ["valkey", str(settings.data_dir / name), str(port), *options]
    children.append(Child(name, command, env | {"VITGAN_REDIS_PASSWORD": password}, logs))
    return f"redis://:{quote(password, safe='')}@127.0.0.1:{port}/0"


def _await(what: str, ready: Callable[[], bool], children: list[Child], stop: _Stop) -> None:
    """Waits until ``ready``, or raises ``UpError`` if a child ends or time runs out."""
    started = time.monotonic()
    while not ready():
        _wait(children, stop)
        if time.monotonic() - started > READY_SECONDS:
            raise UpError(f"{what} does not answer")
    print(f"  {what} ready", flush=True)


def _await_redis(redis: Redis, url: str, children: list[Child], stop: _Stop, patience: float) -> None:
    """The same of Redis; one that answers and refuses us is not waited for."""
    started, place = time.monotonic(), without_password(url)
    try:
        while reason := check_redis(redis, place):
            _wait(children, stop)
            if time.monotonic() - started > patience:
                raise UpError(f"redis does not answer at {place} ({reason}): start it, or unset REDIS_URL")
    except ValueError as error:
        raise UpError(str(error)) from None
    print("  redis ready", flush=True)


def _wait(children: list[Child], stop: _Stop) -> None:
    stop.check()
    _check_children(children)
    time.sleep(0.1)


def _check_children(children: list[Child]) -> None:
    for child in children:
        if child.has_ended:
            raise _ended(child)


def _revive(children: list[Child]) -> None:
    """Starts again what has ended; raises ``UpError`` if one ends again and again."""
    for child in children:
        if child.is_hopeless:
            raise _ended(child)
        if news := child.look():
            print(f"vitgan up: {news}", flush=True)


def _ended(child: Child) -> UpError:
    return UpError(f"{child.name} ended ({child.last_words()}); its log is {child.log}")


def _draw_first(host: str, port: int) -> None:
    """One picture through the whole path, and the words to ask for more."""
    address = _address(host, port)
    body = {"seed": FIRST_SEED, "resolution": 256}
    answer = httpx.post(f"{address}/generate", json=body, timeout=60)
    if answer.status_code != 200:
        raise UpError(f"the first picture failed: {answer.json()['detail']}")
    FIRST.write_bytes(answer.content)
    print(
        f"\n{address}\n"
        f"  first picture: {FIRST.resolve()}\n"
        f"  curl -d '{{\"seed\": 0, \"resolution\": 256}}' -H 'Content-Type: application/json' "
        f"{address}/generate -o seed0000.png"
    )


def _say_keys(host: str, port: int, keys: Path) -> None:
    """The words to ask for a picture; we have no key to ask for one ourselves."""
    address, file = _address(host, port), shlex.quote(str(keys))
    print(
        f"\n{address}\n"
        f"  asks for API keys: vitgan keys create --name me --scope generate --file {file}\n"
        "  curl -d '{\"seed\": 0, \"resolution\": 256}' -H 'Content-Type: application/json' "
        f"-H 'Authorization: Bearer KEY' {address}/generate -o seed0000.png"
    )


def _stop(children: list[Child]) -> None:
    """API and workers first, Redis last; what does not end in time is killed."""
    redis = [child for child in children if child.name.startswith("valkey")]
    rest = [child for child in children if not child.name.startswith("valkey")]
    for group, seconds in ((rest, STOP_SECONDS), (redis, REDIS_SECONDS)):
        for child in group:
            child.process.terminate()
        until = time.monotonic() + seconds
        for child in group:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.process.wait(max(0, until - time.monotonic()))
            child.kill_rest()


def _is_alive(redis: Redis, queue: str) -> bool:
    try:
        return alive(redis, queue) > 0
    except RedisError:
        return False


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5).status_code == 200
    except httpx.TransportError:
        return False


def _address(host: str, port: int) -> str:
    shown = "127.0.0.1" if host in ("0.0.0.0", "::") else host  # noqa: S104 we compare
    return f"http://{f'[{shown}]' if ':' in shown else shown}:{port}"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
