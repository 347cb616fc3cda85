from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from contract.arithmetic import PATTERN, PORTABLE
from worker.arithmetic import CPUINFO, HELD_TO_AVX2

ROOT = Path(__file__).resolve().parents[2]

# Draws seeds of a shipped model in a process of its own, as the libraries read their settings once.
DRAW = """
import hashlib, json, sys
from worker.arithmetic import hold_to
wanted, model, seeds, side = json.loads(sys.argv[1])
hold_to(wanted)
from contract.messages import Side
from contract.models import ModelLibrary
from contract.settings import SHIPPED_MODELS
from worker.engine import Engine, use_threads
use_threads(1)
library = ModelLibrary(SHIPPED_MODELS)
engine, axis = Engine(library), Side.whole(side)
strips = engine.draw(model, library.get(model).digest, seeds, [1.0] * len(seeds), axis, axis)
parts = [hashlib.sha256() for _ in seeds]
for strip in strips:
    for part, rows in zip(parts, strip, strict=True):
        part.update(rows.tobytes())
print(json.dumps([engine.arithmetic, [part.hexdigest()[:16] for part in parts]]))
"""

# SHA-256 of the RGB bytes of seeds 0 to 7 of personas at 128 px, the first 16 digits of each.
PERSONAS = [
    "78d09c6155ab5154", "57539bdc103df94e", "9b30e8170cacfcb0", "2a3480357f84e9f2",
    "148e8a29f77d3756", "d1c35c11b7874cf6", "f9ee14e0101f134e", "abd3df475ad814ab",
]  # fmt: skip


def has_avx2() -> bool:
    return CPUINFO.exists() and " avx2 " in CPUINFO.read_text()


needs_avx2 = pytest.mark.skipif(not has_avx2(), reason="needs an x86-64 CPU with AVX2")


def drawn(
    wanted: str, model: str, seeds: list[int], side: int, *emulator: str, **environment: str
) -> tuple[str, list[str]]:
    """The kind of arithmetic that a process drew with, and a digest of each image."""
    command = [*emulator, str(Path(sys.executable).resolve()), "-c", DRAW]
    given = json.dumps([wanted, model, seeds, side])
    paths = os.pathsep.join([str(ROOT), *(path for path in sys.path if path.endswith("site-packages"))])
    env = {name: value for name, value in os.environ.items() if name not in HELD_TO_AVX2}
    done = subprocess.run(
        [*command, given], env=env | {"PYTHONPATH": paths} | environment,
        cwd=ROOT, capture_output=True, text=True, timeout=280,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    kind, digests = json.loads(done.stdout)
    return kind, digests


@needs_avx2
def test_portable_bytes_are_these_on_every_cpu_with_avx2() -> None:
    kind, digests = drawn(PORTABLE, "personas", list(range(8)), 128)
    assert kind == PORTABLE
    assert digests == PERSONAS


@needs_avx2
def test_settings_of_the_environment_do_not_change_portable_bytes() -> None:
    others = {"ATEN_CPU_CAPABILITY": "default", "DNNL_MAX_CPU_ISA": "SSE41", "MKL_CBWR": "COMPATIBLE"}
    kind, digests = drawn(PORTABLE, "personas", [3, 7], 128, **others, OMP_NUM_THREADS="4")
    assert (kind, digests) == (PORTABLE, [PERSONAS[3], PERSONAS[7]])


def test_a_native_kind_names_what_it_rounds_by() -> None:
    kind, _ = drawn("native", "personas", [0], 16)
    other, _ = drawn("native", "personas", [0], 16, ATEN_CPU_CAPABILITY="default")
    assert re.fullmatch(PATTERN, kind)
    assert re.fullmatch(PATTERN, other)
    assert len({kind, other, PORTABLE}) == 3


@pytest.mark.large
@needs_avx2
@pytest.mark.skipif(not shutil.which("qemu-x86_64"), reason="needs the package qemu-user")
def test_an_emulated_amd_cpu_draws_the_same_bytes() -> None:
    """MKL and oneDNN choose their kernels by the vendor and model that the emulated CPU names."""
    here = drawn(PORTABLE, "personas", [5], 32)
    assert drawn(PORTABLE, "personas", [5], 32, "qemu-x86_64", "-cpu", "EPYC-Rome") == here
