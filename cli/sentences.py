"""How a command says what is wrong."""

from __future__ import annotations

import typer


class Sentences:
    """Turns a ``ValueError`` into one sentence on standard error and exit code 2."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        if isinstance(error, ValueError):
            typer.echo(f"vitgan: {error}", err=True)
            raise typer.Exit(2)
