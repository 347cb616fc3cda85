"""If-None-Match (RFC 9110): a client that has the bytes is told so, and nobody draws them."""

from __future__ import annotations

import re

from fastapi import Request
from fastapi.responses import Response

_TAG = re.compile(r'(?:W/)?("[^"]*")')


def not_modified(request: Request, etag: str, headers: dict[str, str]) -> Response | None:
    """304 with those headers if the client has what ``etag`` names; else None."""
    given = request.headers.get("if-none-match", "")
    if given.strip() == "*" or etag in _TAG.findall(given):
        return Response(status_code=304, headers=headers)
    return None
