"""What /openapi.json promises, and that answers keep it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate
from redis import Redis

from app.answers import TrainingProgress
from app.openapi import Problem
from contract.jobs import Claim, JobStore
from contract.messages import DrawRequest, TrainRequest
from model.progress import Progress
from tests.app.conftest import Api
from tests.app.test_datasets import upload
from tests.app.test_generate import refused
from tests.conftest import png, zip_of

BODY = {"dataset": "nobody", "preset": "vitgan-ti-32", "name": "my-cats", "kimg": 1}


@pytest.fixture
async def schema(api: Api) -> dict[str, Any]:
    told: dict[str, Any] = (await api.http.get("/openapi.json")).json()
    return told


OPERATIONS = {  # names of functions in clients, which must not change
    "generate", "interpolate", "get_image", "get_iiif_base", "get_iiif_info", "get_iiif_image",
    "get_iiif_manifest", "upload_dataset", "list_datasets", "get_dataset", "train", "list_jobs", "get_job",
    "cancel_job", "stream_job_events", "get_job_result", "list_dead_webhooks", "list_models", "get_model",
    "promote_model", "healthz", "readyz", "metrics",
}  # fmt: skip


def operations(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for path in schema["paths"].values():
        yield from path.values()


def objects(schema: Any) -> Iterator[dict[str, Any]]:
    """Every object in it, schemas and all else."""
    if isinstance(schema, dict):
        yield schema
    for part in schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ():
        yield from objects(part)


async def test_the_description_follows_the_rules_of_openapi(schema: dict[str, Any]) -> None:
    validate(schema)
    for part in objects(schema):
        assert not {"ge", "le", "gt", "lt"} & set(part)  # pydantic's words, which no client knows


async def test_operations_keep_their_names(schema: dict[str, Any]) -> None:
    names = [operation["operationId"] for operation in operations(schema)]
    assert sorted(names) == sorted(OPERATIONS)
    assert schema["servers"] == [{"url": "/"}]


async def test_every_parameter_is_described(schema: dict[str, Any]) -> None:
    named = [
        (operation["operationId"], parameter["name"])
        for operation in operations(schema)
        for parameter in operation.get("parameters", ())
        if not parameter.get("description")
    ]
    assert named == []
    for operation in ("generate", "interpolate"):
        (told,) = (one for one in operations(schema) if one["operationId"] == operation)
        assert {"Prefer", "Idempotency-Key"} <= {parameter["name"] for parameter in told["parameters"]}


async def test_every_object_says_what_it_holds(schema: dict[str, Any]) -> None:
    for operation in operations(schema):
        for response in operation["responses"].values():
            for media_type, content in response.get("content", {}).items():
                told = content.get("schema", {"type": "string"})
                assert told.get("$ref") or told["type"] == "string" or operation["tags"] == ["iiif"], (
                    media_type
                )
    for name, told in schema["components"]["schemas"].items():
        for field, about in told.get("properties", {}).items():
            assert about.get("type") != "object" or field in ("request", "arithmetic"), (name, field)
    assert not {name for name in schema["components"]["schemas"] if "_" in name}  # made by the framework


def test_what_trainings_report_is_described() -> None:
    assert set(TrainingProgress.model_fields) == {field.name for field in dataclasses.fields(Progress)}


def keeps(answer: httpx.Response, schema: dict[str, Any], operation: str) -> None:
    """Checks that an answer is as it is described."""
    (told,) = (one for one in operations(schema) if one["operationId"] == operation)
    content = told["responses"][str(answer.status_code)]["content"]["application/json"]["schema"]
    Draft202012Validator({**content, "components": schema["components"]}).validate(answer.json())


async def test_answers_are_as_they_are_described(api: Api, schema: dict[str, Any]) -> None:
    keeps(await upload(api, zip_of({"a.png": png(), "b.txt": b"no picture"})), schema, "upload_dataset")
    keeps(await api.http.get("/datasets"), schema, "list_datasets")
    keeps(await api.http.get("/datasets/cats"), schema, "get_dataset")
    keeps(await api.http.get("/models"), schema, "list_models")
    keeps(await api.http.get("/models/default"), schema, "get_model")
    keeps(await api.http.post("/models/default/promote"), schema, "promote_model")
    keeps(await api.http.get("/healthz"), schema, "healthz")
    keeps(await api.http.get("/readyz"), schema, "readyz")
    keeps(await api.http.get("/webhooks/dead"), schema, "list_dead_webhooks")
    queued = await api.http.post("/generate", json={"seeds": "0-3"}, headers={"Prefer": "respond-async"})
    keeps(queued, schema, "generate")


async def test_jobs_are_as_they_are_described_at_every_stage(
    api: Api, schema: dict[str, Any], redis: Redis
) -> None:
    store = JobStore(redis)
    training = store.create(
        TrainRequest(dataset="cats", preset="vitgan-ti-32", name="my-cats", kimg=1, seed=0)
    )
    drawing = (
        await api.http.post("/generate", json={"seeds": "0-3"}, headers={"Prefer": "respond-async"})
    ).json()["id"]

    async def check() -> None:
        for job in (training, drawing):
            keeps(await api.http.get(f"/jobs/{job}"), schema, "get_job")
        keeps(await api.http.get("/jobs"), schema, "list_jobs")

    await check()
    report = {field.name: 1 for field in dataclasses.fields(Progress)} | {"warning": "", "distance": None}
    trains = store.claim(training, TrainRequest)
    draws = store.claim(drawing, DrawRequest)
    assert isinstance(trains, Claim)
    assert isinstance(draws, Claim)
    await check()
    store.beat(trains, report)
    store.beat(draws, {"bytes": 7, "images": 1, "total_images": 4})
    await check()
    store.succeed(trains, {"model": "my-cats", "digest": "0" * 64}, report)
    told = {"media_type": "application/zip", "bytes": 9, "model": "personas@d691a7ed330c"}
    store.succeed(draws, told, {"bytes": 9, "images": 4, "total_images": 4})
    await check()


async def test_every_refusal_is_told_as_a_problem(schema: dict[str, Any]) -> None:
    for path in schema["paths"].values():
        for operation in path.values():
            for status, response in operation["responses"].items():
                if status.startswith("4"):
                    assert list(response["content"]) == ["application/problem+json"]
    assert "HTTPValidationError" not in schema["components"]["schemas"]


@pytest.mark.parametrize(
    ("method", "path", "statuses"),
    [
        ("post", "/generate", {"200", "202", "400", "401", "403", "404", "408", "413", "422", "503"}),
        ("post", "/datasets", {"201", "400", "401", "403", "408", "409", "413", "422", "503"}),
        ("get", "/iiif/3/{identifier}/info.json", {"200", "307", "404"}),
        ("delete", "/jobs/{job_id}", {"202", "404", "409"}),
        ("get", "/models/{name}", {"200", "404"}),
        ("post", "/models/{name}/promote", {"200", "401", "403", "404"}),
    ],
)
async def test_what_may_come_is_told(
    schema: dict[str, Any], method: str, path: str, statuses: set[str]
) -> None:
    assert statuses <= set(schema["paths"][path][method]["responses"])


async def test_what_is_not_ready_is_no_refusal(schema: dict[str, Any]) -> None:
    told = schema["paths"]["/readyz"]["get"]["responses"]["503"]["content"]
    assert told == {"application/json": {"schema": {"$ref": "#/components/schemas/Readiness"}}}


async def test_a_problem_is_as_it_is_told(api: Api) -> None:
    for answer in (
        await api.http.post("/train", json=BODY),
        await api.http.post("/train", json={}),
        await api.http.get("/jobs/nobody"),
        await api.http.post("/generate", content=b"\xff", headers={"Content-Type": "application/json"}),
    ):
        assert Problem.model_validate(answer.json()).status == answer.status_code


async def test_a_body_that_cannot_be_read_is_400_and_says_so(api: Api) -> None:
    json = {"Content-Type": "application/json"}
    for body in (b"\xff", b"[" * 50_000, b'{"seed": ' + b"9" * 5000 + b"}"):
        refused(await api.http.post("/generate", content=body, headers=json), 400, "body", "Content-Type")
    two = {"files": {"file": ("a.zip", b"x"), "more": ("b.zip", b"x")}, "data": {"name": "cats"}}
    refused(await api.http.post("/datasets", **two), 400, "body", "Too many files")  # type: ignore[arg-type]


async def test_more_digits_than_python_reads_are_refused(api: Api) -> None:
    digits = "9" * 5000
    model = (await api.http.get("/models/default")).json()
    named = f"{model['name']}@{model['digest'][:12]}"
    refused(await api.http.get(f"/images/{named}/{digits}.png"), 422, "seed")
    refused(await api.http.get(f"/iiif/3/{named}:{digits}/info.json"), 404, "seed")
    refused(await api.http.post("/generate", json={"seeds": digits}), 422, "0-15,20")


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("/jobs/nobody", "GET, HEAD, DELETE"),
        ("/jobs/nobody/result", "GET, HEAD"),
        ("/datasets", "GET, HEAD, POST"),
        ("/generate", "POST"),
        ("/iiif/3/default:1/info.json", "GET, HEAD, OPTIONS"),
    ],
)
async def test_what_is_not_offered_is_405_and_says_what_is(api: Api, path: str, methods: str) -> None:
    answer = await api.http.request("PUT", path)
    refused(answer, 405, "PUT", "Allow")
    assert answer.headers["allow"] == methods


async def test_as_many_seeds_as_are_taken_fit_into_a_body(api: Api) -> None:
    seeds = [2**32 - 1 - i for i in range(10_000)]
    answer = await api.http.post("/generate", json={"seeds": seeds, "resolution": 16, "model": "nobody"})
    refused(answer, 404, "nobody")
    refused(await api.http.post("/generate", content=b" " * 300_000), 413, "body")


@pytest.mark.parametrize("path", ["/jobs?limit=1&limit=2", "/images/default/1.png?resolution=8&resolution=9"])
async def test_a_parameter_that_stands_there_twice_is_422(api: Api, path: str) -> None:
    refused(await api.http.get(path), 422, "more than once", path.partition("?")[2].partition("=")[0])
