"""``make docs``: docs/settings.md, and the lower part of .env.example, from the settings classes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from pydantic.fields import FieldInfo

from app.settings import AppSettings
from contract.reading import allowed, variables
from contract.settings import SharedSettings
from worker.settings import WorkerSettings

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = ROOT / "docs" / "settings.md"
EXAMPLE = ROOT / ".env.example"
COMPOSE = ROOT / "docker-compose.yml"

CHAPTERS = {
    "All processes": SharedSettings,
    "The API": AppSettings,
    "Workers, of images and of trainings": WorkerSettings,
}

INTRO = """# Settings

Made by `make docs` from the settings classes (contract/settings.py, app/settings.py, worker/settings.py); a
test fails when it is stale.

A setting is an environment variable, or else a file of its name in small letters (`vitgan_webhook_secret`) in
`/run/secrets`, so that a secret need not stand in the environment. An empty variable counts as one that is
not set. A wrong one ends the process before it listens, with a sentence that names the variable, its value
and what may be given; a variable that begins with `VITGAN_` and is none is told on standard error.

Redis is named by `redis://HOST:6379/0`, `rediss://HOST:6379/0` for TLS, or `unix:///PATH?db=0`. With `rediss://`
the server's certificate is checked; `?ssl_ca_certs=FILE` names the authority of a private one, and
`ssl_certfile`, `ssl_keyfile` this service's own. Nodes of a cluster and replicas are refused at the start.

Besides, `HOST` and `PORT` say where `vitgan up` and `vitgan api` listen (127.0.0.1, 8000),
`VITGAN_SECRETS_DIR` names other folders of such files (with colons), and `VITGAN_CACHE_DIR` is where `vitgan
train` keeps decoded pictures.
"""
HEADER = "| variable | what it says | what may be given | default |\n|---|---|---|---|\n"
MARK = "# ---- Settings of the processes; from here on made by `make docs`, as docs/settings.md is ----\n"


def fields(chapter: str) -> dict[str, FieldInfo]:
    """A chapter's own settings: those of all processes stand in the first."""
    shared = SharedSettings.model_fields
    found = CHAPTERS[chapter].model_fields
    return {name: field for name, field in found.items() if found is shared or name not in shared}


def default(field: FieldInfo) -> str:
    """As one would write it; empty if there is none."""
    value: Any = field.default
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Path):
        return str(value.relative_to(ROOT) if value.is_absolute() else value)
    return "" if value in (None, ()) else str(value)


def reference() -> str:
    """The text of docs/settings.md."""
    return INTRO + "".join(_table(chapter) for chapter in CHAPTERS)


def _table(chapter: str) -> str:
    rows = [
        f"| {' or '.join(f'`{one}`' for one in variables(name, field))} | {field.description} | "
        f"{allowed(field)} | {f'`{default(field)}`' if default(field) else ''} |\n"
        for name, field in fields(chapter).items()
    ]
    return f"\n## {chapter}\n\n{HEADER}{''.join(rows)}"


def example(before: str) -> str:
    """The text of .env.example: what stands before the mark is written by hand, and kept."""
    head = before.partition(MARK)[0]
    return head + MARK + "".join(_lines())


def _lines() -> Iterator[str]:
    api = yaml.safe_load(COMPOSE.read_text())["services"]["api"]
    set_by_compose = api["environment"]
    for chapter in CHAPTERS:
        yield f"\n# {chapter}\n"
        for name, field in fields(chapter).items():
            variable = variables(name, field)[0]
            if variable in set_by_compose:
                continue
            yield f"\n# {field.description} ({allowed(field)})\n#{variable}={default(field)}\n"


def main() -> None:
    """Writes both."""
    REFERENCE.write_text(reference())
    EXAMPLE.write_text(example(EXAMPLE.read_text()))


if __name__ == "__main__":
    main()
