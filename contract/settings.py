"""Settings that the API and the workers must agree on; each room adds its own to these."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import AliasChoices, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

SHIPPED_MODELS = Path(__file__).resolve().parent.parent / "models"


class SharedSettings(BaseSettings):
    """Read from ``VITGAN_<NAME>`` environment variables."""

    model_config = SettingsConfigDict(env_prefix="VITGAN_", frozen=True, populate_by_name=True)

    redis_url: str = Field(
        "redis://127.0.0.1:6379/0",
        validation_alias=AliasChoices("redis_url", "VITGAN_REDIS_URL", "REDIS_URL"),
        description="Redis or Valkey with persistence: the queue and the jobs",
    )
    bytes_redis_url: str | None = Field(
        None,
        description="another one without persistence, for image bytes on their way; redis_url if not given",
    )
    data_dir: Path = Field(
        Path("var"), description="folder shared by all processes: datasets, runs and trained models"
    )
    shipped_models_dir: Path = Field(
        SHIPPED_MODELS, description="folder of read-only models that come with the service"
    )
    leftover_seconds: float = Field(
        3600, gt=0, description="after so long unfinished files of processes that died are removed"
    )

    log: Literal["console", "json"] = Field(
        "console", description="form of the log on standard error: lines for people, or JSON"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="least level that is logged; debug has a line for each request"
    )

    @property
    def bytes_url(self) -> str:
        """Where image bytes go through."""
        return self.bytes_redis_url or self.redis_url

    @property
    def datasets_dir(self) -> Path:
        """Uploaded datasets, a folder each."""
        return self.data_dir / "datasets"

    @property
    def runs_dir(self) -> Path:
        """Trainings, a folder each, named by the job's id."""
        return self.data_dir / "runs"

    @property
    def results_dir(self) -> Path:
        """Files that drawing jobs have made, named by the job's id."""
        return self.data_dir / "results"

    @property
    def trained_models_dir(self) -> Path:
        """Models that trainings have published, a folder each."""
        return self.data_dir / "models"
