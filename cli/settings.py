"""The settings of a command that serves, read and checked before anything listens."""

from __future__ import annotations

import difflib
import os
from typing import TypeVar

import typer

from app.settings import AppSettings
from contract.reading import read_settings, variables
from contract.settings import PREFIX, SECRETS_DIR, SharedSettings
from contract.startup import check_start
from contract.traces import set_up_traces
from worker.settings import WorkerSettings

OTHERS = {SECRETS_DIR, "VITGAN_CACHE_DIR"}  # read, but of no settings class

Settings = TypeVar("Settings", bound=SharedSettings)


def settings_to_serve(kind: type[Settings], room: str) -> Settings:
    """The settings of a process of that room, whose traces are set up by them.

    Raises ``ValueError`` with a sentence if a setting is wrong, or the service cannot work here.
    """
    tell_unknown()
    settings = read_settings(kind)
    check_start(settings)
    set_up_traces(room, settings)
    return settings


def tell_unknown() -> None:
    """Says which variables look like settings and are none: they may be a newer version's."""
    for name in unknown_variables(list(os.environ)):
        close = difflib.get_close_matches(name, known_variables(), 1)
        typer.echo(f"vitgan: {name} is no setting" + (f": is {close[0]} meant?" if close else ""), err=True)


def unknown_variables(names: list[str]) -> list[str]:
    """Those that begin as settings do and are none of any process."""
    return sorted(name for name in names if name.startswith(PREFIX) and name not in known_variables())


def known_variables() -> set[str]:
    """Of all processes: they may share one file of settings."""
    fields = AppSettings.model_fields | WorkerSettings.model_fields
    return OTHERS | {variable for name, field in fields.items() for variable in variables(name, field)}
