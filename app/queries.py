"""What holds of every URL's query."""

from __future__ import annotations

from collections import Counter

from fastapi import Request

from app.errors import InvalidRequest, short


async def each_once(request: Request) -> None:
    """Raises ``InvalidRequest`` if a parameter stands there twice: which of the two was meant?"""
    counts = Counter(name for name, _ in request.query_params.multi_items())
    if twice := sorted(name for name, count in counts.items() if count > 1):
        raise InvalidRequest(f"{short(', '.join(twice))}: given more than once in the URL, give it once")
