"""Documents of linked data that IIIF's viewers read: asked anew each time, and not sent twice."""

from __future__ import annotations

import hashlib
from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse, Response

from app.conditional import not_modified

JSON_LD: dict[str, Any] = {  # of an answer, as OpenAPI describes it
    media_type: {"schema": {"type": "object"}} for media_type in ("application/json", "application/ld+json")
}


def json_ld(about: dict[str, Any], request: Request, headers: dict[str, str] | None = None) -> Response:
    """The document, as JSON-LD for who accepts that, with an ETag that follows from it.

    It names the address that it was asked under and what the service's settings say, so no cache keeps it.
    """
    wants_ld = "application/ld+json" in request.headers.get("accept", "")
    media_type = f'application/ld+json;profile="{about["@context"]}"' if wants_ld else "application/json"
    answer = JSONResponse(about, media_type=media_type)
    etag = f'"{hashlib.sha256(media_type.encode() + bytes(answer.body)).hexdigest()[:32]}"'
    told = (headers or {}) | {"Cache-Control": "no-cache", "Vary": "Accept", "ETag": etag}
    answer.headers.update(told)
    return not_modified(request, etag, told) or answer
