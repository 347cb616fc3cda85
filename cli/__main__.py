"""``python -m cli`` is ``vitgan``."""

from cli.main import app

app()
