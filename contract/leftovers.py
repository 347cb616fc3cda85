"""Files that nobody will finish: their process died while it wrote them."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Iterable
from pathlib import Path


def sweep(paths: Iterable[Path], seconds: float) -> None:
    """Removes those files and folders that nobody has written to for so long."""
    for path in paths:
        with contextlib.suppress(OSError):  # another process sweeps too, or the disk is read-only
            if path.stat().st_mtime > time.time() - seconds:
                continue
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink()
