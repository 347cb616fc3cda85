"""The images' packages: what is listed is what is declared, pinned, hashed, and enough."""

from __future__ import annotations

import subprocess
import sys

import pytest

from scripts import lock

IMPORTED = {
    "api": "app.server, app.main, cli.main, cli.settings, cli.health, kombu.transport.redis",
    "worker": (
        "worker.main, worker.training_main, cli.main, cli.settings, cli.health, cli.training, "
        "kombu.transport.redis"
    ),
}

# Hides every distribution that an image does not have, and imports what its processes do.
CODE = """
import importlib.metadata, sys
from packaging.utils import canonicalize_name
image = {image!r}
from scripts import lock
had = set(lock.packages(image)) | {had!r}
owners = importlib.metadata.packages_distributions()
class Hidden:
    def find_spec(self, name, path=None, target=None):
        owned = [canonicalize_name(one) for one in owners.get(name.partition(".")[0], [])]
        ours = "vitgan-service" in owned
        if owned and not ours and not had & set(owned):
            raise ModuleNotFoundError(f"No module named {{name!r}} in this image", name=name)
for name in [name for name in sys.modules if name.partition(".")[0] in owners]:
    del sys.modules[name]
sys.meta_path.insert(0, Hidden())
import {imported}
"""


@pytest.mark.parametrize("image", lock.IMAGES)
def test_the_list_of_an_image_is_that_of_its_extra(image: str) -> None:
    text = (lock.FOLDER / f"{image}.txt").read_text()
    assert lock.locked(text) == lock.packages(image), "stale: `make lock` makes it anew"


def test_the_api_has_no_torch_and_no_numpy() -> None:
    names = lock.closure(lock.declared(lock.IMAGES["api"]))
    assert {"fastapi", "celery", "starlette"} <= names  # it follows what packages need
    assert names & {"torch", "numpy", "safetensors"} == set()
    assert "torch" in lock.closure(lock.declared(lock.IMAGES["worker"]))


@pytest.mark.parametrize("image", lock.IMAGES)
def test_what_an_image_has_is_enough_for_its_processes(image: str) -> None:
    had = {"torch"} if image == "worker" else set()
    code = CODE.format(image=image, had=had or {""}, imported=IMPORTED[image])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_an_entry_without_a_hash_is_seen() -> None:
    assert lock.locked("a==1 \\\n    --hash=sha256:" + "0" * 64 + "\n") == {"a": "1"}
    with pytest.raises(ValueError, match="b has no hash"):
        lock.locked("a==1 \\\n    --hash=sha256:" + "0" * 64 + "\nb==2\n")


def test_all_that_is_declared_is_pinned() -> None:
    extras = {"api", "worker", "local", "fid", "otel", "plot", "tensorboard", "dev", "ops"}
    names = {lock.canonicalize_name(one.name) for one in lock.declared(extras)}
    assert names - set(lock.pins()) == {"vitgan-service"}
