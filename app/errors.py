"""Every refusal of the service, as RFC 9457 problem+json, from one table.

ServiceError
├── BadRequest       400  a URL that a standard does not know (IIIF), a body that is not what its head says
├── Unauthorized     401  no API key, or one that is not known
├── Forbidden        403  the API key has not the scope
├── NotFound         404  no such model, dataset or job
├── TooSlow          408  the body does not come
├── Conflict         409  a name is taken, a job has ended
├── TooLarge         413  the body is over a limit
├── UnsupportedType  415  the body is of another media type
├── InvalidRequest   422  a field is wrong: the detail says what to change
├── TryLater              ends by itself, with Retry-After
│   ├── QuotaUsed    429  this client has too much under way
│   └── Unavailable  503  no worker, no Redis, queue full
├── InsufficientStorage 507  no room for what is to be kept, or a disk that takes nothing
├── ClientLeft       499  nobody hears it
└── Internal         500  our fault; the log has the request's id
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any, ClassVar

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from redis import RedisError
from redis.exceptions import OutOfMemoryError
from starlette.exceptions import HTTPException
from starlette.routing import Match

from app.metrics import REFUSALS
from contract.disk import DiskError
from contract.redis_client import refusal

log = logging.getLogger(__name__)

PROBLEM_JSON = "application/problem+json"
MAX_ERRORS = 10  # of one request's wrong fields that are named
MAX_DETAIL = 4000  # characters
MAX_SHOWN = 80  # characters of what the client gave
IN_JSON = {  # pydantic's errors that speak of Python's types
    "model_attributes_type": "give a JSON object", "model_type": "give a JSON object",
    "dict_type": "give a JSON object", "bool_type": "give true or false",
}  # fmt: skip


class ServiceError(Exception):
    """A refusal: a status, a short title and a sentence that says what to change."""

    status: ClassVar[int] = 500
    title: ClassVar[str] = "Internal error"

    def __init__(self, detail: str, *, reason: str = "", **more: Any) -> None:
        super().__init__(detail)
        self.detail = detail
        self.reason = reason  # under which it is counted, where the status says too little
        self.more = more  # further members of the problem object

    @property
    def headers(self) -> dict[str, str]:
        """What the answer's head says of it."""
        return {}


class BadRequest(ServiceError):
    """400."""

    status, title = 400, "Bad request"


class InvalidRequest(ServiceError):
    """422."""

    status, title = 422, "Invalid request"


class Unauthorized(ServiceError):
    """401, with the scheme that is asked for."""

    status, title = 401, "Unauthorized"

    @property
    def headers(self) -> dict[str, str]:
        """The challenge that HTTP demands."""
        return {"WWW-Authenticate": "Bearer"}


class Forbidden(ServiceError):
    """403."""

    status, title = 403, "Forbidden"


class NotFound(ServiceError):
    """404."""

    status, title = 404, "Not found"


class TooSlow(ServiceError):
    """408; the rest of the body is not waited for."""

    status, title = 408, "Request timeout"

    @property
    def headers(self) -> dict[str, str]:
        """The connection cannot be used again: what comes next on it is the rest of the body."""
        return {"Connection": "close"}


class Conflict(ServiceError):
    """409."""

    status, title = 409, "Conflict"


class TooLarge(ServiceError):
    """413."""

    status, title = 413, "Body too large"


class UnsupportedType(ServiceError):
    """415."""

    status, title = 415, "Unsupported media type"


class TryLater(ServiceError):
    """A refusal that ends by itself, with Retry-After in seconds."""

    def __init__(self, detail: str, retry_after: int = 2, **more: Any) -> None:
        super().__init__(detail, **more)
        self.retry_after = retry_after

    @property
    def headers(self) -> dict[str, str]:
        """When to try again."""
        return {"Retry-After": str(self.retry_after)}


class QuotaUsed(TryLater):
    """429."""

    status, title = 429, "Too many requests"


class Unavailable(TryLater):
    """503."""

    status, title = 503, "Service unavailable"


class InsufficientStorage(ServiceError):
    """507; ``folder`` is told to those alone who may know where our folders are."""

    status, title = 507, "Insufficient storage"

    def __init__(self, detail: str, *, reason: str = "", folder: Path | None = None) -> None:
        super().__init__(detail, reason=reason)
        self.folder = folder


class ClientLeft(ServiceError):
    """499, as other servers log it."""

    status, title = 499, "Client closed request"


class Internal(ServiceError):
    """500."""


NOT_JSON = UnsupportedType(
    "the body is not sent as JSON: send the header Content-Type: application/json "
    "(curl: -H 'Content-Type: application/json')"
)
REDIS_AWAY = "Redis does not answer, so nothing can be queued: try again in a few seconds"
NOT_WRITTEN = "MISCONF "  # what a Redis says whose append-only file cannot be written

REDIS_FULL = (
    "the memory of Redis is full, so nothing new is taken: what is there goes on and makes room as it ends, "
    "try again later"
)


def of_redis(error: Exception, folder: Path | None = None) -> ServiceError:
    """The refusal for a Redis that does not answer, or answers and refuses: then with its own words.

    ``folder`` is where it keeps its file, if that is known.
    """
    said = refusal(error)
    if said.startswith(NOT_WRITTEN):
        return InsufficientStorage(
            f"Redis cannot write its file ({_cause(said)}), so nothing new is taken: make "
            "room where Redis keeps its data, or ask who runs the service",
            reason="disk_full",
            folder=folder,
        )
    if isinstance(error, OutOfMemoryError):
        return Unavailable(REDIS_FULL, reason="redis_away")
    if said:
        detail = f"Redis refuses this service ({said}), so nothing can be queued until that is changed"
        return Unavailable(detail, reason="redis_away")
    return Unavailable(REDIS_AWAY, reason="redis_away")


REASONS = {
    400: "bad_request", 401: "unauthorized", 403: "forbidden", 404: "not_found", 405: "method",
    408: "slow_body", 409: "conflict", 413: "too_large", 415: "bad_request", 422: "invalid",
    431: "too_large", 499: "client_left", 500: "internal",
}  # fmt: skip


def problem(
    status: int, title: str, detail: str, request: Request, *, reason: str = "", **more: Any
) -> JSONResponse:
    """One problem object; it is counted under that reason, or the one that its status names."""
    REFUSALS.labels(reason=reason or REASONS.get(status, "other")).inc()
    body = {"type": "about:blank", "title": title, "status": status, "detail": short(detail, MAX_DETAIL)}
    request_id = getattr(request.state, "request_id", None)
    return JSONResponse({**body, "request_id": request_id, **more}, status, media_type=PROBLEM_JSON)


def short(text: str, most: int = MAX_SHOWN) -> str:
    """The text, cut where it is longer."""
    return text if len(text) <= most else text[: most - 3] + "..."


def invalid_request(errors: Sequence[Any]) -> ServiceError:
    """The refusal that names pydantic's errors, the first ones if there are many."""
    if any(error["loc"] == ("body",) and isinstance(error["input"], bytes) for error in errors):
        return NOT_JSON
    named = [sentence(error) for error in errors[:MAX_ERRORS]]
    rest = len(errors) - len(named)
    detail = "; ".join([*named, f"and {rest} more"] if rest else named)
    return InvalidRequest(detail, errors=named)


def sentence(error: dict[str, Any]) -> str:
    """One of pydantic's errors as a sentence: where, what was given, what is expected."""
    where = short(".".join(str(part) for part in error["loc"] if part not in ("body", "query", "path")))
    if error["type"] == "json_invalid":
        return f"the body is not valid JSON: {error['ctx']['error']}"
    if error["type"] == "extra_forbidden":
        return f"{where}: unknown field, leave it out"
    if error["type"] == "missing":
        return f"{where or 'body'}: required, but missing"
    message = IN_JSON.get(error["type"]) or error["msg"].removeprefix("Value error, ")
    return f"{where or 'body'}: {short(message, 400)} (got {short(as_json(error['input']))})"


def as_json(value: Any) -> str:
    """The value as the client wrote it: null and true, not None and True."""
    return json.dumps(value, ensure_ascii=False, default=str)


def install(app: FastAPI) -> None:
    """Makes every error of the app a problem object; none carries a traceback."""

    @app.exception_handler(ServiceError)
    async def refuse(request: Request, error: ServiceError) -> JSONResponse:
        detail = _detail(error, request)
        answer = problem(error.status, error.title, detail, request, reason=error.reason, **error.more)
        answer.headers.update(error.headers)
        return answer

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        return await refuse(request, invalid_request(error.errors()))

    @app.exception_handler(RedisError)
    @app.exception_handler(DiskError)
    async def not_kept(request: Request, error: RedisError | DiskError) -> JSONResponse:
        log.warning("%s: %s", "Redis" if isinstance(error, RedisError) else "disk", error)
        return await refuse(request, _not_kept(error, request))

    @app.exception_handler(HTTPException)
    async def from_framework(request: Request, error: HTTPException) -> JSONResponse:
        if isinstance(error.__cause__, ServiceError):
            return await refuse(request, error.__cause__)
        title = HTTPStatus(error.status_code).phrase
        answer = problem(error.status_code, title, _framework_detail(error, request), request)
        answer.headers.update(error.headers or {})
        if error.status_code == 405:
            answer.headers["Allow"] = ", ".join(_offered(request))
        return answer

    @app.exception_handler(Exception)
    async def unexpected(request: Request, error: Exception) -> JSONResponse:
        log.error("request %s failed", getattr(request.state, "request_id", "?"), exc_info=error)
        return await refuse(request, Internal("the service failed; it is not your request's fault"))


def of_disk(error: DiskError, data_dir: Path) -> InsufficientStorage:
    """The refusal for a disk that takes nothing."""
    return InsufficientStorage(error.told(data_dir), reason="disk_full", folder=error.folder)


def _not_kept(error: RedisError | DiskError, request: Request) -> ServiceError:
    if isinstance(error, DiskError):
        return of_disk(error, request.app.state.settings.data_dir)
    return of_redis(error, request.app.state.services.fleet.redis_folder)


def _detail(error: ServiceError, request: Request) -> str:
    """What the error says; a folder is told to clients who may do all that can be done here."""
    client = getattr(request.state, "client", None)
    if isinstance(error, InsufficientStorage) and error.folder and client and client.sees_all:
        return f"{error.detail} (the folder is {error.folder})"
    return error.detail


def _cause(said: str) -> str:
    """What a Redis that cannot write says of it, without where in a script that was."""
    return said.removeprefix(NOT_WRITTEN).partition(" script:")[0]


def _offered(request: Request) -> Iterator[str]:
    """The methods of all routes at that path; Starlette would name those of the first one alone."""
    for method in ("GET", "HEAD", "POST", "DELETE", "OPTIONS"):
        asked = {**request.scope, "method": method}
        if any(route.matches(asked)[0] is Match.FULL for route in request.app.routes):
            yield method


def _framework_detail(error: HTTPException, request: Request) -> str:
    if error.status_code == 404:
        root = request.scope.get("root_path", "")
        return f"there is no {short(request.url.path)}: see {root}/docs for the routes"
    if error.status_code == 405:
        return f"{request.method} is not offered at {short(request.url.path)}: see the Allow header"
    if error.status_code == 400:
        return f"the body is not what its Content-Type says: {error.detail}"
    return error.detail
