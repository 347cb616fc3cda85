"""Curves of a run as a picture: ``vitgan plot RUN``."""

from __future__ import annotations

import math
from pathlib import Path

from model.progress import read_log

PANELS = (
    ("logistic losses", ("loss_d", "loss_g")),
    ("mean logits", ("logit_real", "logit_fake")),
    ("spread between seeds", ("spread",)),
    ("sliced Wasserstein distance x 1000", ("distance",)),
)
BLIND = {"loss_d": 2 * math.log(2), "loss_g": math.log(2)}  # where the discriminator knows nothing


def run_plot(run: Path) -> int:
    """Writes ``RUN/curves.png`` from ``RUN/log.jsonl``; raises ``ValueError`` if there is nothing to plot."""
    reports = read_log(run / "log.jsonl")
    if not reports:
        raise ValueError(f"{run} holds no log.jsonl with a report: give the folder of a run")
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ValueError("plot needs matplotlib: pip install vitgan-service[plot]") from None

    figure = Figure(figsize=(11, 7), layout="constrained")
    for axes, (title, names) in zip(figure.subplots(2, 2).flat, PANELS, strict=True):
        for name in names:
            points = [(r["kimg"], r[name]) for r in reports if r.get(name) is not None]
            kimg, values = zip(*points, strict=True) if points else ((), ())
            (line,) = axes.plot(kimg, _smooth(list(values)), label=name, linewidth=1.2)
            axes.plot(kimg, values, color=line.get_color(), alpha=0.2, linewidth=0.6)
            if name in BLIND:
                axes.axhline(BLIND[name], color=line.get_color(), linestyle=":", linewidth=0.8)
        axes.set(title=title, xlabel="kimg")
        axes.legend(frameon=False)
        axes.spines[["top", "right"]].set_visible(False)
    target = run / "curves.png"
    figure.savefig(target, dpi=110)
    print(target)
    return 0


def _smooth(values: list[float], weight: float = 0.95) -> list[float]:
    """Running mean, unbiased at its start, as TensorBoard draws it."""
    smoothed, total, mass = [], 0.0, 0.0
    for value in values:
        total, mass = weight * total + (1 - weight) * value, weight * mass + 1 - weight
        smoothed.append(total / mass)
    return smoothed
