"""The dashboards as one picture, drawn of what a Prometheus has; for where no Grafana is."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("agg")
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

DASHBOARDS = Path(__file__).resolve().parent / "dashboards"
ORDER = ("service", "training", "fleet")
ROW_INCHES, COLUMN_INCHES, COLUMNS = 0.25, 0.58, 24
INK, PALE, GRID = "#202226", "#6b7078", "#e3e5e8"
MOST_LINES = 8  # that a legend names

Series = tuple[dict[str, str], list[tuple[float, float]]]  # labels, times and values
Ask = Callable[[str], list[Series]]  # a query over the time shown


def draw(ask: Ask, begin: float, out: Path) -> None:
    """Writes the PNG; ``begin`` is the time that the axes count from."""
    boards = [json.loads((DASHBOARDS / f"{name}.json").read_text()) for name in ORDER]
    tall = [2 + max(p["gridPos"]["y"] + p["gridPos"]["h"] for p in board["panels"]) for board in boards]
    figure = Figure((COLUMNS * COLUMN_INCHES, sum(tall) * ROW_INCHES), dpi=100, facecolor="white")
    above = 0
    for board, height in zip(boards, tall, strict=True):
        _text(figure, 0.3, above + 1.3, sum(tall), board["title"], size=13, weight="bold")
        for panel in board["panels"]:
            place = panel["gridPos"] | {"y": panel["gridPos"]["y"] + above + 2}
            if panel["type"] == "row":
                _text(figure, 0.3, place["y"] + 0.7, sum(tall), panel["title"], size=10, color=PALE)
            else:
                _panel(_axes(figure, place, sum(tall)), panel, ask, begin)
        above += height
    figure.savefig(out)


def _panel(axes: Axes, panel: dict[str, Any], ask: Ask, begin: float) -> None:
    found = [
        (_legend(target["legendFormat"], labels), values)
        for target in panel["targets"]
        for labels, values in ask(target["expr"])
    ]
    axes.set_title(panel["title"], loc="left", fontsize=8, color=INK)
    if panel["type"] == "timeseries":
        _curves(axes, panel["fieldConfig"]["defaults"], found, begin)
        return
    axes.set_axis_off()
    if panel["type"] == "stat":
        last = next(
            (value for _, values in found for _, value in reversed(values) if value == value), math.nan
        )
        unit = panel["fieldConfig"]["defaults"]["unit"]
        axes.text(0.02, 0.3, said(last, unit), fontsize=17, color=INK, transform=axes.transAxes)
    else:
        told = ["  ".join(f"{k}={v}" for k, v in sorted(labels.items()) if not k.startswith("__"))
                for target in panel["targets"] for labels, _ in ask(target["expr"])]  # fmt: skip
        axes.text(0.02, 0.95, "\n".join(told), fontsize=7, va="top", color=INK, transform=axes.transAxes)


def _curves(
    axes: Axes, defaults: dict[str, Any], found: list[tuple[str, list[tuple[float, float]]]], begin: float
) -> None:
    for number, (legend, values) in enumerate(found):
        times = [(at - begin) / 60 for at, _ in values]
        label = legend if number < MOST_LINES else "_"
        axes.plot(times, [value for _, value in values], linewidth=1.1, label=label, color=f"C{number % 10}")
    axes.grid(color=GRID, linewidth=0.6)
    axes.spines[:].set_visible(False)
    axes.tick_params(labelsize=6, colors=PALE, length=0)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: said(value, defaults["unit"])))
    if "min" in defaults:
        axes.set_ylim(bottom=0)
    if any(legend for legend, _ in found):
        axes.legend(
            fontsize=6, frameon=False, loc="upper left", bbox_to_anchor=(0, -0.13), ncols=4,
            labelcolor=INK, handlelength=0.8, columnspacing=1, borderaxespad=0, labelspacing=0.2,
        )  # fmt: skip


def _legend(template: str, labels: dict[str, str]) -> str:
    return re.sub(r"{{(\w+)}}", lambda match: labels.get(match[1], ""), template).strip()


def said(value: float, unit: str) -> str:
    """A number for people."""
    if not math.isfinite(value):
        return "no data"
    if unit == "percentunit":
        return f"{value:.3g}" if abs(value) > 1e4 else f"{100 * value:.3g} %"
    if unit == "s" and (0 < abs(value) < 1 or abs(value) > 600):
        return f"{1000 * value:.3g} ms" if abs(value) < 1 else f"{value / 3600:.3g} h"
    suffix = {"s": " s", "bytes": "B", "Bps": "B/s", "reqps": "/s", "ops": "/s"}.get(unit, "")
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g} {letter}{suffix.strip()}"
    return f"{value:.3g}{suffix}"


def _axes(figure: Figure, place: dict[str, float], rows: int) -> Axes:
    """Within its place in the grid, with room for title and ticks."""
    left, width = (place["x"] + 0.9) / COLUMNS, (place["w"] - 1.2) / COLUMNS
    below = 2.1 if place["h"] > 4 else 0.8  # ticks and a legend of two lines
    bottom, height = 1 - (place["y"] + place["h"] - below) / rows, (place["h"] - below - 1.1) / rows
    return figure.add_axes((left, bottom, width, height))


def _text(figure: Figure, x: float, y: float, rows: int, text: str, **more: Any) -> None:
    figure.text(x / COLUMNS, 1 - y / rows, text, **{"color": INK, **more})
