"""Files: resumable checkpoints of a run, and published models in Hugging Face's layout.

A checkpoint is a ``torch.save`` dict read back with ``weights_only=True``; a published model is a
folder of ``config.json`` and ``model.safetensors``.
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from model.config import GeneratorConfig
from model.generator import Generator
from model.watch import out_of_memory

KEEP = 2  # checkpoints of a run: the last one, and one to fall back on


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Lets ``write`` make a temporary file, then moves it to ``path``: readers see all or nothing."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        write(temporary)
        temporary.chmod(0o644)  # other users' workers read it
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


class DamagedCheckpoint(Exception):
    """The file is cut off, changed on disk, or not a checkpoint at all."""


@dataclass(frozen=True)
class Checkpoint:
    """The state of a run, and the newer files that were passed over to find it."""

    path: Path
    state: dict[str, Any]
    damaged: tuple[tuple[Path, str], ...]  # with reasons, newest first


def save_checkpoint(run: Path, images_seen: int, state: dict[str, Any]) -> Path:
    """Writes ``checkpoint-<images seen>.pt`` and keeps one other beside it, the newest."""
    path = run / f"checkpoint-{images_seen:012d}.pt"

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            try:
                torch.save(state, file)
            except RuntimeError as error:  # which hides that the disk is full
                if isinstance(error.__context__, OSError):
                    raise error.__context__ from None
                raise

    write_atomically(path, write)
    for old in [other for other in checkpoints(run) if other != path][KEEP - 1 :]:
        old.unlink()
    return path


def checkpoints(run: Path) -> list[Path]:
    """The run's checkpoints, newest first."""
    return sorted(run.glob("checkpoint-*.pt"), reverse=True)


def load_checkpoint(run: Path) -> Checkpoint | None:
    """The newest whole checkpoint; damaged ones are passed over. None if the run has no checkpoint.

    Raises ``ValueError`` if a file cannot be opened, or if all of them are damaged.
    """
    damaged: list[tuple[Path, str]] = []
    for path in checkpoints(run):
        try:
            return Checkpoint(path, _read_checkpoint(path), tuple(damaged))
        except DamagedCheckpoint as error:
            damaged.append((path, str(error)))
    if damaged:
        named = "; ".join(f"{path.name}: {reason}" for path, reason in damaged)
        raise ValueError(
            f"no checkpoint in {run} can be used ({named}): put a whole one there from a backup, "
            "or move these away to start at 0"
        )
    return None


def set_aside(path: Path) -> Path:
    """Renames a damaged checkpoint, so that it is neither loaded nor counted again; gives its new path."""
    return path.rename(path.with_name(f"damaged-{path.name}"))


def _read_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint's state; raises ``DamagedCheckpoint``, or ``ValueError`` if it cannot be opened.

    Checksums are compared first: ``torch.load`` does not look at them.
    """
    try:
        file = path.open("rb")
    except OSError as error:
        raise ValueError(
            f"{path} cannot be opened ({error.strerror}): make it readable, or move it away to go on "
            "from an older one"
        ) from None
    with file:
        try:
            with zipfile.ZipFile(file) as archive:
                member = archive.testzip()
            file.seek(0)
            state = torch.load(file, map_location="cpu", weights_only=True) if member is None else None
        except Exception as error:  # zipfile and the unpickler have many names for damage
            if out_of_memory(error):
                raise
            raise DamagedCheckpoint(str(error).partition("\n")[0] or repr(error)) from error
    if member is not None:
        raise DamagedCheckpoint(f"{member} in it has a wrong checksum")
    if not isinstance(state, dict) or "images_seen" not in state:
        raise DamagedCheckpoint("it is not a checkpoint of a training")
    return state


def save_model(folder: Path, generator: Generator, description: dict[str, Any]) -> None:
    """Publishes a generator: its weights, its shape and whatever ``description`` says of its making."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: value.contiguous().cpu() for name, value in generator.state_dict().items()}
    config = {"model_type": "vitgan", **description, "generator": vars(generator.config)}
    data = save(weights, {"format": "pt"})  # save_file tells nobody when the disk is full
    write_atomically(folder / "model.safetensors", lambda path: path.write_bytes(data))
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
