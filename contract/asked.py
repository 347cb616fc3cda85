"""A job's request as clients are told it: in the words in which it can be asked for again."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from contract.arithmetic import PORTABLE, reference
from contract.messages import DrawRequest, Grid, Side, Walk
from contract.seeds import write_seeds

OURS = ("request_id", "trace")  # of messages, for logs


def asked(request: dict[str, Any]) -> dict[str, Any]:
    """What POST /train, /generate or /interpolate was asked, with the seed and the model's digest settled."""
    try:
        drawing = DrawRequest.model_validate(request)
    except ValidationError:  # a training, or what another release has recorded
        return {name: value for name, value in request.items() if name not in OURS}
    what = drawing.what
    told: dict[str, Any] = {
        "model": reference(drawing.model, drawing.digest, PORTABLE),
        "resolution": [what.columns.full, what.rows.full],
        "truncation": what.truncation,
    }
    if isinstance(what, Walk):
        walk = {name: getattr(what, name) for name in ("frames", "space", "loop", "fps", "format")}
        return {"seeds": write_seeds(what.seeds)} | told | walk
    told |= _region(what.columns, what.rows)
    if isinstance(what, Grid):
        return {"seeds": write_seeds(what.seeds)} | told | {"layout": "grid", "across": what.across}
    seeds = {"seeds": write_seeds(what.seeds)} if what.zipped else {"seed": what.seeds[0]}
    return seeds | told | {"format": what.form.format}


def _region(columns: Side, rows: Side) -> dict[str, Any]:
    if (columns.length, rows.length) == (columns.full, rows.full):
        return {}
    return {"region": [columns.start, rows.start, columns.length, rows.length]}
