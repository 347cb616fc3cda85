"""What a worker process can be told."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from contract.settings import SharedSettings


class WorkerSettings(SharedSettings):
    """Settings of both kinds of worker."""

    threads: int = Field(
        0, ge=0, description="CPU threads that draw one batch or train one model; 0: all cores"
    )
    slots: int = Field(
        8, ge=1, description="batches an image worker holds: one is drawn, others encode or stream"
    )
    loaded_models: int = Field(4, ge=1, description="models an image worker keeps in memory")
    result_seconds: float = Field(86_400, gt=0, description="how long files of drawing jobs are kept")
    arithmetic: Literal["portable", "native"] = Field(
        "portable",
        description="how images are drawn: portable gives the same bytes on every x86-64 CPU with AVX2; "
        "native takes this CPU's best instructions, which is faster, and names them in ETag and X-Model",
    )
    device: Literal["cpu", "cuda"] = Field(
        "cpu", description="what trainings run on; images are painted by the CPU, which keeps their bytes"
    )
    tick_kimg: float = Field(
        4, gt=0, description="thousand pictures between a training's checkpoints and grids"
    )
    stop_seconds: float = Field(
        6,
        gt=0,
        description="time that images have to be finished, and a training to write its checkpoint, "
        "when the worker is stopped",
    )
    metrics_port: int = Field(
        0,
        ge=0,
        le=65_534,
        description="port on which Prometheus finds this worker; 0: none. `vitgan up` gives its training "
        "worker the next one",
    )
    metrics_host: str = Field("0.0.0.0", description="address of that port")  # noqa: S104  of a container
