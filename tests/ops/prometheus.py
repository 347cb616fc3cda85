"""A real Prometheus on the files of docker/prometheus, with the processes of a test as its targets."""

from __future__ import annotations

import math
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.acceptance.processes import until
from tests.conftest import free_port

FILES = Path(__file__).resolve().parents[2] / "docker" / "prometheus"


def binary(name: str) -> str:
    """Where it is; skips the test, or fails it in CI, where it is not."""
    found = shutil.which(name)
    if found is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(
            f"{name} is not installed: on Debian and Ubuntu install the package prometheus, elsewhere "
            "take it from the release page of Prometheus"
        )
    return str(found)


class Prometheus:
    """Scrapes once a second; ``targets`` are addresses by job."""

    def __init__(self, folder: Path, targets: dict[str, str]) -> None:
        config = yaml.safe_load((FILES / "prometheus.yml").read_text())
        config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        config["rule_files"] = [str(FILES / "rules.yml")]
        for job in config["scrape_configs"]:
            assert job.pop("dns_sd_configs")
            job["static_configs"] = [{"targets": [targets[job["job_name"]]]}]
        folder.mkdir()
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        port = free_port()
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30)
        self.process = subprocess.Popen(
            [
                binary("prometheus"), f"--config.file={folder}/prometheus.yml", "--log.level=warn",
                f"--storage.tsdb.path={folder}/data", f"--web.listen-address=127.0.0.1:{port}",
            ]
        )  # fmt: skip
        until(self._ready, 30)

    def _ready(self) -> bool:
        try:
            return self.http.get("/-/ready").status_code == 200
        except httpx.TransportError:
            return False

    def query(self, expression: str) -> list[dict[str, Any]]:
        """What it is now."""
        answer = self.http.get("/api/v1/query", params={"query": expression}).json()
        assert answer["status"] == "success", answer
        return list(answer["data"]["result"])

    def over(
        self, expression: str, begin: float, end: float
    ) -> list[tuple[dict[str, str], list[tuple[float, float]]]]:
        """What it was: labels, and times with values."""
        step = max(1.0, (end - begin) / 400)
        params: dict[str, Any] = {"query": expression, "start": begin, "end": end, "step": step}
        answer = self.http.get("/api/v1/query_range", params=params).json()
        assert answer["status"] == "success", answer
        return [
            (series["metric"], [(float(at), float(value)) for at, value in series["values"]])
            for series in answer["data"]["result"]
        ]

    def known(self, expression: str, begin: float, end: float) -> bool:
        """Whether there was a number at any time."""
        return any(
            math.isfinite(value) for _, values in self.over(expression, begin, end) for _, value in values
        )

    def stop(self) -> None:
        self.http.close()
        self.process.terminate()
        self.process.wait(30)
