"""Settings that the API and the workers must agree on; each room adds its own to these."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from pydantic import AliasChoices, Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SecretsSettingsSource,
    SettingsConfigDict,
)

from contract.redis_urls import with_password

PREFIX = "VITGAN_"
SHIPPED_MODELS = Path(__file__).resolve().parent.parent / "models"
SECRETS_DIR = "VITGAN_SECRETS_DIR"  # names folders of files; a setting itself cannot, it is read from them
SECRETS = "/run/secrets"  # where Docker and Kubernetes put files that must not stand in the environment


class SharedSettings(BaseSettings):
    """Read from ``VITGAN_<NAME>`` environment variables, or from files ``vitgan_<name>`` of those folders.

    An empty variable, as compose files pass on what is not set, counts as one that is not there.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, frozen=True, populate_by_name=True, env_ignore_empty=True
    )

    redis_password: SecretStr | None = Field(
        None, description="password of both Redises, for URLs that carry none; best given as a file"
    )
    redis_url: str = Field(
        "redis://127.0.0.1:6379/0",
        validation_alias=AliasChoices("redis_url", "VITGAN_REDIS_URL", "REDIS_URL"),
        description="Redis or Valkey with persistence: the queue and the jobs",
    )
    bytes_redis_url: str | None = Field(
        None,
        description="another one without persistence, for image bytes on their way; redis_url if not given",
    )
    valkey_bytes: int = Field(
        512 * 2**20,
        ge=16 * 2**20,
        description="memory of each of the two Valkeys that `vitgan up` starts; when it is full, new jobs "
        "and images are refused",
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

    otlp_endpoint: str | None = Field(
        None,
        pattern=r"^https?://[^/\s]+",
        description="OpenTelemetry collector, such as http://collector:4318, that is sent traces by OTLP; "
        "none are made without",
    )

    @field_validator("redis_url", "bytes_redis_url")
    @classmethod
    def _with_password(cls, url: str | None, info: ValidationInfo) -> str | None:
        return None if url is None else with_password(url, info.data.get("redis_password"))

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment first, then the files."""
        named = os.environ.get(SECRETS_DIR, SECRETS).split(os.pathsep)
        folders = [Path(name) for name in named if Path(name).is_dir()]
        return init_settings, env_settings, SecretsSettingsSource(settings_cls, secrets_dir=folders)

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

    @property
    def promoted_file(self) -> Path:
        """The name of the model that was promoted."""
        return self.data_dir / "promoted"
