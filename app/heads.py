"""HEAD (RFC 9110): every GET has its own, with the same headers and no body."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter
from fastapi.responses import Response


class Router(APIRouter):
    """FastAPI's, but each GET route answers HEAD too; the server drops the body.

    Where a body would be work, the endpoint asks for the method and gives ``head_only``.
    """

    def add_api_route(self, path: str, endpoint: Callable[..., Any], **about: Any) -> None:
        """The route, and its HEAD if it is a GET."""
        super().add_api_route(path, endpoint, **about)
        if about.get("methods") == ["GET"]:
            head = about | {"methods": ["HEAD"], "include_in_schema": False}
            super().add_api_route(path, endpoint, **head)


def head_only(headers: dict[str, str], media_type: str | None) -> Response:
    """The head of an answer whose length is not known before it is made."""
    answer = Response(headers=headers, media_type=media_type)
    del answer.headers["content-length"]
    return answer
