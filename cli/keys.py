"""``vitgan keys``: who may call the service."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.sentences import Sentences

if TYPE_CHECKING:
    from app.key_file import ApiKey

app = typer.Typer(help="Make, list and revoke API keys.", no_args_is_help=True)

File = Annotated[
    Path,
    typer.Option("--file", envvar="VITGAN_API_KEYS_FILE", help="The file of keys, as the service reads it."),
]


@app.command()
def create(
    file: File,
    name: Annotated[str, typer.Option(help="Whose key it is.")],
    scope: Annotated[
        list[str], typer.Option(help="What it is good for: generate, train or admin; may be repeated.")
    ],
    max_waiting: Annotated[int | None, typer.Option(min=1, help="Images that may wait at a time.")] = None,
    max_jobs: Annotated[int | None, typer.Option(min=1, help="Unfinished jobs at a time.")] = None,
) -> None:
    """Make a key, and print it: it is shown this once. The running service takes it at once."""
    from app.key_file import editing, new_key

    with Sentences(), editing(file) as keys:
        key, kept = new_key(name, scope, max_waiting, max_jobs)
        keys.append(kept)
    typer.echo(key)
    typer.echo("Keep it: the file has only its hash. Send it as `Authorization: Bearer KEY`.", err=True)


@app.command("list")
def show(file: File) -> None:
    """List the keys, by what may be told of them."""
    from app.key_file import read_keys

    with Sentences():
        for key in read_keys(file):
            typer.echo("  ".join([key.id, f"{key.created_at:%Y-%m-%d}", *_limits(key), key.name]))


@app.command()
def revoke(key_id: Annotated[str, typer.Argument(metavar="ID", help="As listed.")], file: File) -> None:
    """Take a key away: the running service refuses it at once."""
    from app.key_file import editing

    with Sentences(), editing(file) as keys:
        found = next((key for key in keys if key.id == key_id), None)
        if found is None:
            raise ValueError(f"there is no key {key_id!r} in {file}: `vitgan keys list` tells what there is")
        keys.remove(found)
    typer.echo(f"{key_id} ({found.name}) is revoked")


def _limits(key: ApiKey) -> list[str]:
    """What it may, in columns."""
    waiting, jobs = key.max_waiting or "any", key.max_jobs or "any"
    return [f"{','.join(key.scopes):<21}", f"waiting {waiting:<5}", f"jobs {jobs:<5}"]
