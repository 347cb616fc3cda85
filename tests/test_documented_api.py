"""What the documents promise is there: routes, and the sizes that are refused."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from app.main import create_app
from app.middleware import JSON_BYTES
from app.server import MAX_HEAD
from app.settings import AppSettings

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
METHODS = "GET|HEAD|POST|PUT|PATCH|DELETE"
NAMED = re.compile(rf"\b((?:{METHODS})(?: and (?:{METHODS}))*) (/[\w{{}}@./*-]+)")


def offered() -> list[tuple[str, str]]:
    """Methods of the API, and patterns of the paths that they are for."""
    paths = create_app(AppSettings()).openapi()["paths"]
    found = [
        (method.upper(), re.sub(r"\\\{.*?\\\}", "[^/]+", re.escape(path)))
        for path, methods in paths.items()
        for method in methods
    ]
    return found + [("HEAD", pattern) for method, pattern in found if method == "GET"]


def is_offered(method: str, path: str, routes: list[tuple[str, str]]) -> bool:
    """Whether there is that route, or one that begins so if the path ends in dots or stars."""
    begin = re.sub(r"\{[^}]*\}", "x", re.sub(r"(\.\.\.|\*+)$", "", path).rstrip("."))
    if path.endswith(("...", "*")):
        return any(name == method and re.match(begin.rstrip("/"), pattern) for name, pattern in routes)
    between = begin.replace("/...", "/x")
    return any(name == method and re.fullmatch(pattern, between) for name, pattern in routes)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_route_that_is_named_is_there(document: Path) -> None:
    routes = offered()
    named = [
        (method, match[2])
        for match in NAMED.finditer(document.read_text())
        for method in match[1].split(" and ")
    ]
    assert [one for one in named if not is_offered(*one, routes)] == []


def test_routes_are_found_in_documents_and_others_are_not() -> None:
    routes = offered()
    for path in ("/jobs/{id}", "/jobs...", "/models/.../promote", "/images/{model}@{digest}/{seed}.png"):
        method = "POST" if "promote" in path else "GET"
        assert is_offered(method, path, routes), path
    assert not is_offered("PATCH", "/jobs/{id}", routes)
    assert not is_offered("GET", "/jobs/{id}/nothing", routes)


def test_security_names_the_sizes_that_the_code_has() -> None:
    text = (ROOT / "docs" / "security.md").read_text()
    assert f"| {JSON_BYTES // 1024} KiB of JSON," in text
    assert f"up to {JSON_BYTES // 1024} KiB are read first" in text
    assert f"closed; {MAX_HEAD // 1024} KiB, then 431" in text
