"""Clients that others' generators make of /openapi.json, run against the real service."""

from __future__ import annotations

import importlib
import json
import subprocess
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.acceptance.conftest import Service
from tests.acceptance.sites import TOOLS
from tests.conftest import write_pictures

pytestmark = pytest.mark.acceptance

PYTHON = TOOLS / "python" / "bin" / "openapi-python-client"
NODE = TOOLS / "node" / "node_modules"
CONFIG = {  # files and events are no kinds that the generator knows
    "post_hooks": [],
    "content_type_overrides": {
        "image/png": "application/octet-stream",
        "image/apng": "application/octet-stream",
        "text/event-stream": "text/plain",
    },
}
SCRIPT = """
import { writeFileSync } from "node:fs";
import createClient from "openapi-fetch";
import type { components, paths } from "./schema.js";

const client = createClient<paths>({ baseUrl: process.argv[2]! });

const picture = await client.POST("/generate", {
  body: { seed: 7, resolution: 64 },
  parseAs: "arrayBuffer",
});
writeFileSync("seed0007.png", Buffer.from(picture.data as unknown as ArrayBuffer));

const refused = await client.POST("/generate", { body: { seed: -1 } });
const problem: components["schemas"]["Problem"] | undefined = refused.error;

const queued = await client.POST("/train", {
  body: { dataset: "shapes", preset: "vitgan-ti-32", name: "of-typescript", kimg: 100 },
});
const job: components["schemas"]["Job"] = queued.data!;
const cancelled = await client.DELETE("/jobs/{job_id}", { params: { path: { job_id: job.id } } });
const { data: models } = await client.GET("/models", { params: { query: { limit: 1 } } });

console.log(JSON.stringify({
  status: queued.response.status,
  kind: job.kind,
  cancelled: cancelled.response.status,
  problem: problem?.detail,
  model: models?.items[0]?.name,
}));
"""


@pytest.fixture(scope="module")
def service(service: Service) -> Service:
    """With pictures to train on."""
    archive = write_pictures(service.folder / "shapes.zip")
    with service.http() as http, archive.open("rb") as file:
        assert http.post("/datasets", data={"name": "shapes"}, files={"file": file}).status_code == 201
    return service


@pytest.fixture
def description(service: Service, tmp_path: Path) -> Path:
    with service.http() as http:
        path = tmp_path / "openapi.json"
        path.write_bytes(http.get("/openapi.json").content)
        return path


def drawn(service: Service) -> bytes:
    with service.http() as http:
        return http.post("/generate", json={"seed": 7, "resolution": 64}).content


@pytest.fixture
def made(description: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The package that openapi-python-client makes, to be imported; its name."""
    if not PYTHON.is_file():
        pytest.skip("openapi-python-client is not here: `make tools` fetches it")
    folder, config = description.parent, description.parent / "config.json"
    config.write_text(json.dumps(CONFIG))
    command = [
        str(PYTHON), "generate", "--path", str(description), "--output-path", str(folder / "made_client"),
        "--meta", "none", "--config", str(config), "--fail-on-warning",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    monkeypatch.syspath_prepend(str(folder))
    return "made_client"


def test_a_client_by_openapi_python_client_works(service: Service, made: str) -> None:
    def part(path: str) -> Any:
        return importlib.import_module(f"{made}.{path}")

    timeout = httpx.Timeout(120)
    with part("client").Client(f"http://127.0.0.1:{service.port}", timeout=timeout) as client:
        draw(service, part, client)
        train(part, client)
        assert part("api.status.readyz").sync(client=client).status.value == "ready"
        (dataset,) = part("api.datasets.list_datasets").sync(client=client).items
        assert (dataset.name, dataset.pictures) == ("shapes", 40)


def draw(service: Service, part: Any, client: Any) -> None:
    """An image, a refusal, and a job."""
    generate, kinds = part("api.images.generate"), part("models")
    picture = generate.sync(client=client, body=kinds.GenerateBody(seed=7, resolution=64))
    assert picture.payload.read() == drawn(service)
    refused = generate.sync(client=client, body=kinds.GenerateBody(seed=-1))
    assert isinstance(refused, kinds.Problem)
    assert (refused.status, "seed" in refused.detail) == (422, True)

    body = kinds.GenerateBody(seeds="7,8", resolution=64)
    queued = generate.sync(client=client, body=body, prefer="respond-async")
    assert isinstance(queued, kinds.QueuedJob)
    job = ended(part, client, queued.id)
    assert (job.status.value, type(job.result)) == ("succeeded", kinds.DrawingResult)
    assert job.progress.images == job.progress.total_images == 2
    file = part("api.jobs.get_job_result").sync_detailed(client=client, job_id=queued.id)
    assert (file.status_code, len(file.content)) == (200, job.result.bytes_)


def train(part: Any, client: Any) -> None:
    """A training to its end, and a refusal."""
    route, kinds = part("api.jobs.train"), part("models")
    body = kinds.TrainBody(dataset="shapes", preset="vitgan-ti-32", name="of-python", kimg=0.1)
    queued = route.sync(client=client, body=body)
    assert isinstance(queued, kinds.Job)
    job = ended(part, client, queued.id)
    assert (job.status.value, job.error) == ("succeeded", None)
    assert isinstance(job.progress, kinds.TrainingProgress)
    assert job.progress.kimg == job.progress.total_kimg > 0
    model = part("api.models.get_model").sync(client=client, name=job.result.model)
    assert (model.name, model.digest) == ("of-python", job.result.digest)
    refused = route.sync(client=client, body=kinds.TrainBody(dataset="nobody", name="x", kimg=1))
    assert isinstance(refused, kinds.Problem)
    assert "nobody" in refused.detail


def ended(part: Any, client: Any, job_id: str) -> Any:
    get = part("api.jobs.get_job")
    while (job := get.sync(client=client, job_id=job_id)).status.value in ("queued", "running"):
        time.sleep(0.2)
    return job


def test_a_client_by_openapi_typescript_works(service: Service, description: Path) -> None:
    if not NODE.is_dir():
        pytest.skip("openapi-typescript is not here: `make tools` fetches it, with npm")
    folder = description.parent
    (folder / "node_modules").symlink_to(NODE)
    (folder / "client.ts").write_text(SCRIPT)
    (folder / "package.json").write_text('{"type": "module"}')
    binaries = NODE / ".bin"
    for command in (
        # Else fields that have a default would have to be sent.
        [
            binaries / "openapi-typescript", description, "--output", "schema.d.ts",
            "--default-non-nullable", "false",
        ],
        [
            binaries / "tsc", "--strict", "--noUncheckedIndexedAccess", "--target", "es2022",
            "--module", "nodenext", "--skipLibCheck", "--types", "node", "client.ts",
        ],
    ):  # fmt: skip
        done = subprocess.run(list(map(str, command)), cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    done = subprocess.run(
        ["node", "client.js", f"http://127.0.0.1:{service.port}"], cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert "seed" in told.pop("problem")
    assert told == {"status": 202, "kind": "train", "cancelled": 202, "model": "cifar10-32"}
    assert (folder / "seed0007.png").read_bytes() == drawn(service)
