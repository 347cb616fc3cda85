"""The kind of arithmetic that this process draws with (contract/arithmetic.py says what a kind is).

PyTorch, oneDNN and MKL each choose their instructions by the CPU they find. Held to AVX2 they round alike
on Intel's and AMD's CPUs, if every matrix product has four rows and columns or more: with fewer, MKL takes
another path on AMD (docs/architecture.md has what was measured).
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
from pathlib import Path

from contract.arithmetic import PORTABLE

HELD_TO_AVX2 = {
    "ATEN_CPU_CAPABILITY": "avx2",  # PyTorch's own kernels
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "MKL_CBWR": "AVX2,STRICT",  # conditional numerical reproducibility; STRICT: whatever the shape
}
# Without it MKL's kernels for AVX2 give an image other bits in another batch; those for AVX-512 do not.
STRICT = {"MKL_CBWR": "AUTO,STRICT"}
MKL_CHOICES = {"MKL_CBWR", "MKL_ENABLE_INSTRUCTIONS"}  # of a user who wants other kernels than the CPU's best
PROVEN_TORCH = "2.13."  # another version may sum in another order
CPUINFO = Path("/proc/cpuinfo")


def hold_to(wanted: str) -> None:
    """Sets what the libraries read when they load: call it before PyTorch is imported."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return
    if wanted == PORTABLE:
        os.environ.update(HELD_TO_AVX2)
    elif os.environ.keys() & MKL_CHOICES or "avx512f" not in _read_cpuinfo():
        os.environ.update(STRICT)


def kind_in_use() -> str:
    """The kind of this process; loads PyTorch."""
    import torch

    held = all(os.environ.get(name) == value for name, value in HELD_TO_AVX2.items())
    capability = torch.backends.cpu.get_cpu_capability()
    has_mkl = torch.backends.mkl.is_available()  # type: ignore[no-untyped-call]
    proven = torch.__version__.startswith(PROVEN_TORCH)
    if held and has_mkl and proven and capability == "AVX2":
        return PORTABLE
    settings = [os.environ.get(name, "") for name in (*HELD_TO_AVX2, "DNNL_MAX_CPU_ISA")]
    named = "\n".join([torch.__version__, platform.machine(), _cpu(), capability, *settings])
    slug = re.sub("[^a-z0-9]", "", capability.lower())
    return f"cpu-{slug}-{hashlib.sha256(named.encode()).hexdigest()[:6]}"


def _cpu() -> str:
    """Vendor, family and model: what libraries choose their kernels by."""
    lines = _read_cpuinfo().splitlines()
    told = dict(line.replace("\t", "").split(":", 1) for line in lines if ":" in line)
    named = [told.get(name, "").strip() for name in ("vendor_id", "cpu family", "model")]
    return " ".join(named) if told else platform.processor()


def _read_cpuinfo() -> str:
    """What Linux says of the first core; empty elsewhere."""
    try:
        return CPUINFO.read_text().partition("\n\n")[0]
    except OSError:
        return ""
