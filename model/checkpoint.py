"""Files: resumable checkpoints of a run, and published models in Hugging Face's layout.

A checkpoint is a ``torch.save`` dict read back with ``weights_only=True``; a published model is a
folder of ``config.json`` and ``model.safetensors``.
"""

from __future__ import annotations

import contextlib
import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

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
    """The newest whole checkpoint's state, or None if there is none; a damaged one is passed over.

    Checksums are compared first: ``torch.load`` does not look at them.
    """
    for path in checkpoints(run):
        # Whatever is raised, it is cut off or damaged: zipfile and the unpickler have many names for that.
        with contextlib.suppress(Exception), zipfile.ZipFile(path) as archive:
            if archive.testzip() is None:
                state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
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
        shape = GeneratorConfig(**config["generator"])
        weights = load_file(folder / "model.safetensors")
        _check_fit(shape, weights)
        generator = Generator(shape)
        generator.load_state_dict(weights)
    except (OSError, KeyError, TypeError, ValueError, RuntimeError, OverflowError, SafetensorError) as error:
        raise ValueError(f"{folder} is no readable model: {error}") from error
    return generator.eval().requires_grad_(False)


def _check_fit(shape: GeneratorConfig, weights: dict[str, Tensor]) -> None:
    """Raises ``ValueError`` if the weights are another shape's, before memory is taken for that shape."""
    with torch.device("meta"):
        wanted = Generator(shape).state_dict()
    for name in sorted(wanted.keys() | weights.keys()):
        want, got = (_kind(tensors[name]) if name in tensors else "none" for tensors in (wanted, weights))
        if want != got:
            raise ValueError(f"the config asks for {name} {want}, the weights have {got}")


def _kind(tensor: Tensor) -> str:
    return f"{tuple(tensor.shape)} of {tensor.dtype}"
