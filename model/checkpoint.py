"""Files: resumable checkpoints of a run, and published models in Hugging Face's layout.

A checkpoint is a ``torch.save`` dict read back with ``weights_only=True``; a published model is a
folder of ``config.json`` and ``model.safetensors``.
"""

from __future__ import annotations

import json
import os
import pickle  # for its error alone: nothing is unpickled but tensors
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from model.config import GeneratorConfig
from model.generator import Generator

KEEP = 2  # checkpoints of a run: the last one, and one to fall back on


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Lets ``write`` make a temporary file, then moves it to ``path``: readers see all or nothing."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        write(temporary)
        temporary.chmod(0o644)  # safetensors makes its files private; other users' workers read them
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def save_checkpoint(run: Path, images_seen: int, state: dict[str, Any]) -> Path:
    """Writes ``checkpoint-<images seen>.pt`` and removes all but the last two."""
    path = run / f"checkpoint-{images_seen:012d}.pt"
    write_atomically(path, lambda temporary: torch.save(state, temporary))
    for old in checkpoints(run)[KEEP:]:
        old.unlink()
    return path


def checkpoints(run: Path) -> list[Path]:
    """The run's checkpoints, newest first."""
    return sorted(run.glob("checkpoint-*.pt"), reverse=True)


def load_checkpoint(run: Path) -> dict[str, Any] | None:
    """The newest readable checkpoint's state, or None if there is none; a truncated one is passed over."""
    for path in checkpoints(run):
        try:
            state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        except (
            RuntimeError,
            EOFError,
            OSError,
            KeyError,
            pickle.UnpicklingError,
        ):  # cut off or no checkpoint
            continue
        return state
    return None


def save_model(folder: Path, generator: Generator, description: dict[str, Any]) -> None:
    """Publishes a generator: its weights, its shape and whatever ``description`` says of its making."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: value.contiguous().cpu() for name, value in generator.state_dict().items()}
    config = {"model_type": "vitgan", **description, "generator": vars(generator.config)}
    write_atomically(folder / "model.safetensors", lambda path: save_file(weights, path, {"format": "pt"}))
    write_atomically(
        folder / "config.json", lambda path: path.write_text(json.dumps(config, indent=2) + "\n")
    )


def load_generator(folder: Path) -> Generator:
    """A published generator, ready to draw on the CPU.

    Raises ``ValueError`` if the folder's files are missing, broken or do not fit each other.
    """
    try:
        config = json.loads((folder / "config.json").read_text())
        generator = Generator(GeneratorConfig(**config["generator"]))
        generator.load_state_dict(load_file(folder / "model.safetensors"))
    except (
        OSError,
        KeyError,
        TypeError,
        RuntimeError,
        SafetensorError,
        json.JSONDecodeError,
    ) as error:
        raise ValueError(f"{folder} is no readable model: {error}") from error
    return generator.eval().requires_grad_(False)
