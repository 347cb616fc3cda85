"""Progress for TensorBoard, an optional extra."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from model.progress import Progress


def tensorboard_writer(run: Path) -> Callable[[Progress], None]:
    """Writes every number of a report as a scalar over the pictures seen, into ``run/tensorboard``.

    What a resumed run tells again replaces what its log there has of it. Raises ``ValueError`` if TensorBoard
    is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise ValueError("--tensorboard needs a package: .venv/bin/pip install -e '.[tensorboard]'") from None
    writer: SummaryWriter | None = None

    def write(progress: Progress) -> None:
        nonlocal writer
        seen = round(progress.kimg * 1000)
        writer = writer or SummaryWriter(run / "tensorboard", purge_step=seen)
        for name, value in asdict(progress).items():
            if isinstance(value, int | float) and name not in ("kimg", "total_kimg", "eta_seconds"):
                writer.add_scalar(name, value, seen)
        writer.flush()

    return write
