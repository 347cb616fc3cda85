"""What the API says of itself besides what FastAPI sees: refusals, files, and what workers tell of jobs.

All refusals are problem objects; which may come follows from a route's form.
"""

from __future__ import annotations

from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict, Field

from app.answers import OF_JOBS, of_jobs
from app.errors import PROBLEM_JSON

PROBLEM = {PROBLEM_JSON: {"schema": {"$ref": "#/components/schemas/Problem"}}}
FRAMEWORKS_OWN = ("HTTPValidationError", "ValidationError")  # never sent


class Problem(BaseModel):
    """A refusal (RFC 9457); further members tell more of some."""

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: int
    detail: str = Field(description="what to change")
    request_id: str | None = Field(description="as in X-Request-ID, and in the log")
    errors: list[str] = Field([], description="one sentence for each wrong field")


def files(*media_types: str) -> dict[str, Any]:
    """The content of an answer that is a file of one of those kinds."""
    return {media_type: {"schema": {"type": "string", "format": "binary"}} for media_type in media_types}


def describe(app: FastAPI) -> None:
    """Completes what ``app.openapi()`` gives."""
    make = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _completed(make())
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _completed(schema: dict[str, Any]) -> dict[str, Any]:
    for path in schema["paths"].values():
        for method, operation in path.items():
            responses = operation["responses"]
            for status in _follow(method, operation):
                responses.setdefault(str(status), {"description": HTTPStatus(status).phrase})
            for status, response in responses.items():
                if status.startswith("4") or (status.startswith("5") and _needs_redis(operation)):
                    response["content"] = PROBLEM
    schemas = schema.setdefault("components", {}).setdefault("schemas", {})
    for name in FRAMEWORKS_OWN:
        schemas.pop(name, None)
    schemas["Problem"] = Problem.model_json_schema()
    _type_jobs(schemas)
    return schema


def _type_jobs(schemas: dict[str, Any]) -> None:
    """What workers tell stays as it is in a job's record; here stands what that is."""
    schemas |= of_jobs()
    for job in ("Job", "QueuedJob"):
        for field, kinds in OF_JOBS.items():
            known = [{"$ref": f"#/components/schemas/{kind.__name__}"} for kind in kinds]
            schemas[job]["properties"][field] = {"anyOf": [*known, {"type": "null"}]}


def _follow(method: str, operation: dict[str, Any]) -> Iterator[int]:
    """Statuses that come with names in the path, with a body, with a change, with the need for Redis."""
    if any(parameter["in"] == "path" for parameter in operation.get("parameters", ())):
        yield 404
    if "requestBody" in operation:
        yield from (400, 408, 413, 415, 422)
    if method in ("post", "delete"):
        yield 409
    if _needs_redis(operation):
        yield 503
        if method == "post":
            yield 507


def _needs_redis(operation: dict[str, Any]) -> bool:
    """Whether it does more than tell how this process stands."""
    return operation.get("tags") != ["status"]
