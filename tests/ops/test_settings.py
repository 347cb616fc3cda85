"""The documents of settings are those of the classes, and the compose files name no others."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cli.settings import known_variables
from scripts import settings
from scripts.settings import EXAMPLE, REFERENCE, ROOT

COMPOSE = [ROOT / "docker-compose.yml", ROOT / "docker-compose.gpu.yml"]


def test_the_reference_is_that_of_the_classes() -> None:
    assert REFERENCE.read_text() == settings.reference(), "stale: `make docs` makes it anew"


def test_the_example_is_that_of_the_classes() -> None:
    assert EXAMPLE.read_text() == settings.example(EXAMPLE.read_text()), "stale: `make docs` makes it anew"


def test_the_example_has_each_variable_of_the_compose_files_and_its_default() -> None:
    lines = re.findall(r"^#(\w+)=(.*)$", EXAMPLE.read_text(), re.MULTILINE)
    ours = dict(line for line in lines if not line[0].startswith("VITGAN_"))
    text = "".join(path.read_text() for path in COMPOSE)
    named = dict(re.findall(r"\$\{(\w+):?-([^}]*)\}", text[: text.index("docker-compose.gpu.yml up")]))
    for name, default in named.items():
        assert dict(lines)[name] == default
    elsewhere = set(ours) - set(re.findall(r"\$\{(\w+)", text))
    assert elsewhere == {"FORWARDED_ALLOW_IPS"}  # uvicorn's own


@pytest.mark.parametrize("path", [EXAMPLE, *COMPOSE, ROOT / "docker" / "Dockerfile"])
def test_no_file_names_a_setting_that_is_none(path: Path) -> None:
    named = set(re.findall(r"\bVITGAN_\w+", path.read_text()))
    assert named
    assert named <= known_variables()


def test_the_example_changes_nothing() -> None:
    """It is copied to .env, so each line is a comment."""
    assert all(line.startswith("#") or not line for line in EXAMPLE.read_text().splitlines())
