"""What a dashboard is made of, and the JSON that Grafana reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

COLUMNS = 24  # of Grafana's grid
SOURCE = {"type": "prometheus", "uid": "prometheus"}
REFRESH = "10s"

Query = tuple[str, str]  # expression, legend


@dataclass(frozen=True)
class Panel:
    """One picture. Units are Grafana's; ``told`` says what to look for."""

    title: str
    unit: str
    queries: tuple[Query, ...]
    told: str = ""
    width: int = 8
    kind: str = "timeseries"  # or stat, table
    signed: bool = False  # may be below 0

    @property
    def height(self) -> int:
        """In rows of the grid."""
        return 4 if self.kind == "stat" else 8


@dataclass(frozen=True)
class Board:
    """One dashboard: titles of rows, and what stands below each."""

    uid: str
    title: str
    rows: tuple[tuple[str, tuple[Panel, ...]], ...]
    quiet: str = "nothing yet"  # what a panel shows while there is nothing to show


def rate(series: str, by: str = "") -> str:
    """Increase a second of a counter."""
    return f"sum {f'by ({by}) ' if by else ''}(rate({series}[$__rate_interval]))"


def number(expression: str) -> str:
    """Where it is one, and not below 0: while nothing happens, a quotient or a quantile is NaN."""
    return f"({expression}) >= 0"


def mean(name: str) -> str:
    """Of a histogram."""
    return number(f"{rate(f'{name}_sum')} / {rate(f'{name}_count')}")


def quantile(q: float, name: str, by: str = "") -> str:
    """Of a histogram."""
    labels = f"{by}, le" if by else "le"
    return number(f"histogram_quantile({q}, {rate(f'{name}_bucket', labels)})")


def stat(title: str, unit: str, query: str, told: str = "") -> Panel:
    """One number."""
    return Panel(title, unit, ((query, ""),), told, width=6, kind="stat")


def lines(
    title: str, unit: str, *queries: Query, told: str = "", width: int = 8, signed: bool = False
) -> Panel:
    """Curves over time."""
    return Panel(title, unit, queries, told, width, signed=signed)


def table(title: str, query: str, told: str = "", width: int = 12) -> Panel:
    """The labels of what there is now."""
    return Panel(title, "none", ((query, ""),), told, width, kind="table")


def grafana(board: Board) -> dict[str, Any]:
    """As Grafana reads it."""
    panels: list[dict[str, Any]] = []
    y = 0
    for title, row in board.rows:
        panels.append({"type": "row", "title": title, "collapsed": False, "panels": [], "id": len(panels) + 1,
                       "gridPos": {"x": 0, "y": y, "w": COLUMNS, "h": 1}})  # fmt: skip
        y, x, tall = y + 1, 0, 0
        for panel in row:
            if x + panel.width > COLUMNS:
                y, x, tall = y + tall, 0, 0
            panels.append(picture(panel, board.quiet, len(panels) + 1, x, y))
            x, tall = x + panel.width, max(tall, panel.height)
        y += tall
    return {
        "uid": board.uid, "title": board.title, "tags": ["vitgan"], "schemaVersion": 39, "version": 1,
        "editable": False, "refresh": REFRESH, "time": {"from": "now-1h", "to": "now"}, "timezone": "browser",
        "links": [{"type": "dashboards", "title": "ViTGAN", "tags": ["vitgan"], "asDropdown": False}],
        "panels": panels,
    }  # fmt: skip


def picture(panel: Panel, quiet: str, number: int, x: int, y: int) -> dict[str, Any]:
    """One panel as Grafana reads it."""
    now = panel.kind != "timeseries"
    return {
        "id": number, "type": panel.kind, "title": panel.title, "description": panel.told,
        "datasource": SOURCE,
        "gridPos": {"x": x, "y": y, "w": panel.width, "h": panel.height},
        "fieldConfig": {
            "defaults": {"unit": panel.unit, "noValue": quiet}
            | ({} if panel.signed else {"min": 0}),
            "overrides": [],
        },
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}} if not now else {},
        "targets": [
            {
                "refId": chr(ord("A") + index), "datasource": SOURCE, "expr": expression,
                "legendFormat": legend,
                **({"format": "table", "instant": True} if panel.kind == "table" else {}),
            }
            for index, (expression, legend) in enumerate(panel.queries)
        ],
    }  # fmt: skip
