"""Curves of a run as a picture: ``vitgan plot RUN``."""

from __future__ import annotations

import math
from pathlib import Path

from model.progress import read_log

PANELS = (
    ("logistic losses", ("loss_d", "loss_g")),
    ("mean logits", ("logit_real", "logit_fake")),
    ("spread between seeds", ("spread",)),
    ("augmentation's p, r_t, and what D judges right", ("augment_probability", "signs", "right")),
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
        raise ValueError("plot needs matplotlib: .venv/bin/pip install -e '.[plot]'") from None

    curves = {name: _curve(reports, name) for _, names in PANELS for name in names}
    panels = [(title, names) for title, names in PANELS if curves[names[0]][0]]
    figure = Figure(figsize=(11, 3.5 * -(-len(panels) // 2)), layout="constrained")
    for index, (title, names) in enumerate(panels, 1):
        axes = figure.add_subplot(-(-len(panels) // 2), 2, index)
        for name in names:
            kimg, values = curves[name]
            (line,) = axes.plot(kimg, _smooth(values), label=name, linewidth=1.2)
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


def _curve(reports: list[dict[str, float]], name: str) -> tuple[list[float], list[float]]:
    """Where it was reported, and what; a run may have begun before there was such a number."""
    told = [report for report in reports if report.get(name) is not None]
    return [report["kimg"] for report in told], [report[name] for report in told]


def _smooth(values: list[float], weight: float = 0.95) -> list[float]:
    """Running mean, unbiased at its start, as TensorBoard draws it."""
    smoothed, total, mass = [], 0.0, 0.0
    for value in values:
        total, mass = weight * total + (1 - weight) * value, weight * mass + 1 - weight
        smoothed.append(total / mass)
    return smoothed
