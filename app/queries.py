"""What holds of every URL's query."""

from __future__ import annotations

from fastapi import Request

from app.errors import InvalidRequest


async def each_once(request: Request) -> None:
    """Raises ``InvalidRequest`` if a parameter stands there twice: which of the two was meant?"""
    names = [name for name, _ in request.query_params.multi_items()]
    if twice := sorted(name for name in set(names) if names.count(name) > 1):
        raise InvalidRequest(f"{', '.join(twice)}: given more than once in the URL, give it once")
