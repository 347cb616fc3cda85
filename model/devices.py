"""Several devices, one process each, as ``torchrun`` starts them: who we are, and sums over all.

Every process draws the random numbers of the whole batch from the same seed and works on its own part of
it, so what a training computes does not depend on how many share the work, but for rounding.
"""

from __future__ import annotations

import gc
import os
import resource
import sys
import time
from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import Tensor


class Devices:
    """This process among its peers; alone, unless ``torchrun`` set WORLD_SIZE.

    Raises ``ValueError`` if ``device`` is neither cpu nor cuda, or cuda is not there.
    """

    def __init__(self, device: str) -> None:
        if device not in ("cpu", "cuda"):
            raise ValueError(f"device is {device!r}: give cpu or cuda")
        if device == "cuda" and not torch.cuda.is_available():
            raise ValueError("device is cuda, but PyTorch finds no GPU here: give cpu")
        self.rank = int(os.environ.get("RANK", 0))
        self.world = int(os.environ.get("WORLD_SIZE", 1))
        self.local = torch.device(f"cuda:{os.environ.get('LOCAL_RANK', 0)}" if device == "cuda" else "cpu")
        if self.world > 1 and not dist.is_initialized():
            if device == "cuda":
                torch.cuda.set_device(self.local)
            dist.init_process_group("nccl" if device == "cuda" else "gloo")

    @property
    def first(self) -> bool:
        """Whether this process writes the files and tells the progress."""
        return self.rank == 0

    def sum_(self, tensors: Sequence[Tensor]) -> None:
        """Replaces each tensor by its sum over all processes; all give tensors of the same shapes."""
        if self.world == 1:
            return
        flat = torch.cat([tensor.flatten() for tensor in tensors])  # one message for all
        dist.all_reduce(flat)
        for tensor, total in zip(tensors, torch.split(flat, [t.numel() for t in tensors]), strict=True):
            tensor.copy_(total.view_as(tensor))

    def any(self, here: bool) -> bool:
        """Whether it is true in at least one process; all get the same answer."""
        flag = torch.tensor([float(here)], device=self.local)
        self.sum_([flag])
        return bool(flag)

    def wait(self) -> None:
        """Returns when all processes are here."""
        if self.world > 1:
            dist.barrier()

    def close(self) -> None:
        """Leaves the group."""
        if self.world > 1:
            dist.destroy_process_group()
            # gloo's threads end a little later; an interpreter that ends before them is aborted.
            gc.collect()
            time.sleep(0.3)


def peak_memory(device: torch.device) -> int:
    """Bytes that this process has used at most: of that GPU, or of the machine's memory on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # Linux counts in KiB
