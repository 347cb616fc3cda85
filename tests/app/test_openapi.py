"""What /openapi.json promises of refusals, and that refusals keep it."""

from __future__ import annotations

from typing import Any

import pytest

from app.openapi import Problem
from tests.app.conftest import Api
from tests.app.test_generate import refused

BODY = {"dataset": "nobody", "preset": "vitgan-ti-32", "name": "my-cats", "kimg": 1}


@pytest.fixture
async def schema(api: Api) -> dict[str, Any]:
    told: dict[str, Any] = (await api.http.get("/openapi.json")).json()
    return told


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
    assert "content" not in schema["paths"]["/readyz"]["get"]["responses"]["503"]


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
