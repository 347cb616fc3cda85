"""Drawing in this process, without the service."""

from __future__ import annotations

from pathlib import Path

from contract.models import ModelLibrary, PublishedModel
from contract.settings import SharedSettings
from worker.engine import Engine, core_count, use_threads
from worker.png import image_encoder


def run_generation(
    model: str, seeds: list[int], width: int, height: int, truncation: float, out: Path
) -> None:
    """``vitgan generate``: the same bytes as the service sends, into ``seed0042.png`` files."""
    published = find_model(model)
    use_threads(1)
    engine = Engine(ModelLibrary(published.folder.parent), core_count(0))
    out.mkdir(parents=True, exist_ok=True)
    for seed in seeds:
        path = out / f"seed{seed:04d}.png"
        encoder = image_encoder(published.digest, seed, width, height, truncation)
        strips = engine.draw(published.name, published.digest, [seed], [truncation], width, height)
        with path.open("wb") as file:
            for strip in strips:
                file.write(encoder.strip(strip[0]))
            file.write(encoder.end())
        print(path)


def find_model(model: str) -> PublishedModel:
    """A model's folder, or the name of a shipped or trained one; raises ``ValueError``."""
    folder = Path(model).resolve()
    settings = SharedSettings()
    try:
        if folder.is_dir():
            return ModelLibrary(folder.parent).get(folder.name)
        return ModelLibrary(settings.shipped_models_dir, settings.trained_models_dir).get(model)
    except KeyError:
        raise ValueError(f"{model!r} is no model: give its folder, or a name of GET /models") from None
