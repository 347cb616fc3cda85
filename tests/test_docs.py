"""The documents name what is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("models/*/README.md")])


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_pictures_and_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", document.read_text()):
        if "://" not in target:
            assert (document.parent / target).exists(), target


def test_the_models_parts_stand_where_the_document_says() -> None:
    text = (ROOT / "docs" / "model.md").read_text()
    places = re.findall(r"`(\w+)` ([\w/]+\.py):(\d+)", text)
    assert len(places) > 20
    for name, path, number in places:
        lines = (ROOT / path).read_text().splitlines()
        found = [n for n, line in enumerate(lines, 1) if re.match(rf"\s*(def|class) {name}\b", line)]
        assert int(number) in found, f"{name} of {path} stands at line {found}, docs/model.md says {number}"


def test_the_models_proofs_are_there() -> None:
    named = set(re.findall(r"\btest_\w+", (ROOT / "docs" / "model.md").read_text()))
    assert len(named) > 10
    assert {name for name in named if not (ROOT / "tests" / "model" / f"{name}.py").exists()} == set()


@pytest.mark.parametrize("document", ["security.md", "reliability.md"])
def test_the_proofs_that_a_document_names_are_there(document: str) -> None:
    named = set(re.findall(r"`(test_\w+)`", (ROOT / "docs" / document).read_text()))
    assert len(named) > 30
    tests = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    assert named - set(re.findall(r"def (test_\w+)\(", tests)) == set()
