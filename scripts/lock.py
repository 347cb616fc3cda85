"""``make lock``: the packages of each image, with the hashes of all their files, from constraints.txt.

An image installs docker/requirements/NAME.txt with ``pip --require-hashes --no-deps``: nothing that is not
listed, and no file that differs. The list is the closure of an extra of pyproject.toml, by what the packages
installed here say that they need; uv asks the index for hashes. PyTorch is not among them: each of its
indexes has files of its own under the same version, so the Dockerfile pins it by version alone.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from importlib.metadata import requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "docker" / "requirements"
IMAGES = {"api": ("api", "otel"), "worker": ("worker", "otel")}  # image -> extras; a trainer has the worker's
BUILD = ("setuptools", "wheel")  # what makes our own wheel
PYTHON = "3.11"  # of the images
BY_VERSION = "torch"
HEAD = "# Made by `make lock` from pyproject.toml and constraints.txt; PyTorch is pinned in the Dockerfile.\n"


def pins() -> dict[str, str]:
    """What constraints.txt says: name -> version."""
    lines = (ROOT / "constraints.txt").read_text().split()
    return {canonicalize_name(name): version for name, _, version in (line.partition("==") for line in lines)}


def declared(extras: Iterable[str]) -> list[Requirement]:
    """What pyproject.toml says that every process needs, and those extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    optional = project["optional-dependencies"]
    return [
        Requirement(line)
        for lines in [project["dependencies"], *(optional[extra] for extra in extras)]
        for line in lines
    ]


def closure(wanted: Iterable[Requirement]) -> set[str]:
    """The names of all packages that those need, and of these themselves."""
    found: set[tuple[str, str]] = set()
    todo = [(canonicalize_name(one.name), extra) for one in wanted for extra in ("", *one.extras)]
    while todo:
        name, extra = todo.pop()
        if (name, extra) in found:
            continue
        found.add((name, extra))
        for one in map(Requirement, requires(name) or ()):
            if one.marker is None or one.marker.evaluate({"extra": extra}):
                todo += [(canonicalize_name(one.name), more) for more in ("", *one.extras)]
    return {name for name, _ in found}


def packages(image: str) -> dict[str, str]:
    """What an image's file lists: name -> version."""
    names = closure(declared(IMAGES[image])) - {BY_VERSION}
    return {name: pins()[name] for name in sorted(names)}


def locked(text: str) -> dict[str, str]:
    """What such a file lists: name -> version. Raises ``ValueError`` for an entry without a hash."""
    found = {}
    for entry in re.split(r"\n(?=\S)", text.replace("\\\n", "")):
        if match := re.match(r"([\w.-]+)==(\S+)", entry):
            if not re.search(r"--hash=sha256:[0-9a-f]{64}\b", entry):
                raise ValueError(f"{match[1]} has no hash")
            found[canonicalize_name(match[1])] = match[2]
    return found


def with_hashes(listed: dict[str, str]) -> str:
    """The file that lists them."""
    uv = [
        sys.executable, "-m", "uv", "pip", "compile", "--generate-hashes", "--no-deps", "--no-header",
        "--no-annotate", "--universal", "--python-version", PYTHON, "-",
    ]  # fmt: skip
    lines = "".join(f"{name}=={version}\n" for name, version in listed.items())
    done = subprocess.run(uv, input=lines, stdout=subprocess.PIPE, text=True, check=True)
    return HEAD + done.stdout


def main() -> None:
    """Writes all files."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in IMAGES:
        (FOLDER / f"{name}.txt").write_text(with_hashes(packages(name)))
    (FOLDER / "build.txt").write_text(with_hashes({name: pins()[name] for name in BUILD}))


if __name__ == "__main__":
    main()
