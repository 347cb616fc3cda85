"""Drawing in this process, without the service."""

from __future__ import annotations

from pathlib import Path

from contract.messages import SUFFIXES, Form, Grid, Side, Walk
from contract.models import ModelLibrary, PublishedModel
from contract.reading import read_settings
from contract.settings import SharedSettings
from worker.ahead import ahead
from worker.compositions import image_pieces, pieces
from worker.engine import Engine, core_count, use_threads


def run_generation(
    model: str, seeds: list[int], columns: Side, rows: Side, truncation: float, form: Form, out: Path
) -> None:
    """``vitgan generate``: the same bytes as the service sends, into ``seed0042.png`` files."""
    published = find_model(model)
    use_threads(1)
    engine = Engine(ModelLibrary(published.folder.parent), core_count(0))
    out.mkdir(parents=True, exist_ok=True)
    for seed in seeds:
        path = out / f"seed{seed:04d}.{SUFFIXES[form.format]}"
        drawn = image_pieces(published.name, published.digest, seed, truncation, columns, rows, form, engine)
        with path.open("wb") as file:
            for piece in drawn:
                file.write(piece.data)
        print(path)


def run_composition(model: str, what: Grid | Walk, out: Path) -> None:
    """``vitgan interpolate`` and grids: the same bytes as the service sends, into one file."""
    published = find_model(model)
    use_threads(1)
    engine = Engine(ModelLibrary(published.folder.parent), core_count(0))
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("wb") as file:
        for piece in ahead(pieces(what, published.name, published.digest, engine)):
            file.write(piece.data)
    print(out)


def find_model(model: str) -> PublishedModel:
    """A model's folder, or the name of a shipped or trained one; raises ``ValueError``."""
    folder = Path(model).resolve()
    settings = read_settings(SharedSettings)
    try:
        if folder.is_dir():
            return ModelLibrary(folder.parent).get(folder.name)
        return ModelLibrary(settings.shipped_models_dir, settings.trained_models_dir).get(model)
    except KeyError:
        raise ValueError(f"{model!r} is no model: give its folder, or a name of GET /models") from None
