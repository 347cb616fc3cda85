"""Logs of every process: lines for people, or JSON for machines, with the ids of what is being done.

Code logs through the standard library; structlog writes the lines. What is bound around a piece of work
(``structlog.contextvars``) stands in each line that it logs: ``request_id``, ``job_id``. Secrets of the
settings, and whatever looks like one, are struck out of the whole line, tracebacks too.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Callable
from types import TracebackType
from urllib.parse import unquote

import structlog
from pydantic import SecretStr
from structlog.typing import EventDict, Processor

from contract.settings import SharedSettings

QUIET = (
    "amqp", "asyncio", "celery", "httpcore", "httpx", "kombu", "PIL", "python_multipart", "redis",
    "sse_starlette", "torch",
)  # fmt: skip  # they say too much below WARNING
HIDDEN = "***"
SHORT = 6  # a shorter secret is found by its place in a URL only: it may be part of any word
_URL_PASSWORD = re.compile(r"(?<=://)([^\s/@:]*):([^\s/@]+)@")
_LOOKS_SECRET = re.compile(
    r"whsec_[A-Za-z0-9+/=]+"
    r"|\bvg_[0-9a-f]{8}_[\w-]+"  # an API key
    r"|(?i:(?<=bearer )[\w.~+/=-]+)"
)

Render = Callable[[object, str, EventDict], str]


def set_up_logs(room: str, settings: SharedSettings) -> None:
    """From now on this process logs to standard error in the form that the settings say."""
    as_json = settings.log == "json"
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=_said(room),
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *([structlog.processors.format_exc_info] if as_json else []),
                without_secrets(_json() if as_json else _console(), secrets_of(settings)),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.log_level.upper())
    for name in QUIET:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
    logging.captureWarnings(True)
    if as_json:
        sys.excepthook = _say_the_end


def bound(name: str) -> str:
    """What is bound under that name where this is called, or ''."""
    return str(structlog.contextvars.get_contextvars().get(name, ""))


def secrets_of(settings: SharedSettings) -> list[str]:
    """Passwords in URLs, and values that are declared secret, longest first."""
    found: set[str] = set()
    for value in dict(settings).values():
        if isinstance(value, SecretStr):
            found.add(value.get_secret_value())
        elif isinstance(value, str) and (match := _URL_PASSWORD.search(value)):
            found |= {match[2], unquote(match[2])}
    found |= {quoted(secret)[1:-1] for secret in found for quoted in (json.dumps, repr)}
    return sorted((secret for secret in found if len(secret) >= SHORT), key=len, reverse=True)


def without_secrets(render: Render, secrets: list[str]) -> Render:
    """The same renderer, its lines without those words and without what looks like a secret."""

    def rendered(logger: object, method: str, event: EventDict) -> str:
        line = render(logger, method, event)
        for secret in secrets:
            line = line.replace(secret, HIDDEN)
        return _LOOKS_SECRET.sub(HIDDEN, without_passwords(line))

    return rendered


def without_passwords(text: str) -> str:
    """The text, the passwords of its URLs struck out."""
    return _URL_PASSWORD.sub(rf"\1:{HIDDEN}@", text)


def _said(room: str) -> list[Processor]:
    """What every line says."""

    def of_the_room(logger: object, method: str, event: EventDict) -> EventDict:
        event["room"] = room
        return event

    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        of_the_room,
    ]


def _json() -> Render:
    return structlog.processors.JSONRenderer(ensure_ascii=False)  # type: ignore[return-value]


def _console() -> Render:
    render = structlog.dev.ConsoleRenderer(
        colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
    )

    def one_line(logger: object, method: str, event: EventDict) -> str:
        told = {"event": str(event["event"])} | {key: v for key, v in event.items() if isinstance(v, str)}
        return render(logger, method, {**event, **{key: printable(text) for key, text in told.items()}})

    return one_line


def printable(text: str) -> str:
    """The text with its control characters escaped: what a client gives must not look like another line."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _say_the_end(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """A process that an error ends says so in a line of its log."""
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
    else:
        logging.getLogger("vitgan").critical("ended by an error", exc_info=(kind, error, trace))
