"""Kinds of arithmetic: workers of one kind draw the same bytes, whatever machine they run on.

How a sum is rounded depends on the instructions that compute it, so an image drawn by AVX-512, by AVX2 or
by a GPU may differ in a few pixels by 1 of 255. ``portable`` names the kind that every x86-64 CPU with AVX2
shares (worker/arithmetic.py says how). Every other kind has a name of its own, which is part of an image's
ETag and X-Model, and of the URL that caches for ever.
"""

from __future__ import annotations

PORTABLE = "portable"
PATTERN = r"[a-z0-9][a-z0-9-]{0,39}"  # of a kind's name: safe in a URL, a header and a Redis key


def identity(digest: str, arithmetic: str) -> str:
    """What the bytes of a model's images follow from: its digest, and the kind unless it is ``portable``."""
    return digest if arithmetic == PORTABLE else f"{digest}+{arithmetic}"


def reference(name: str, digest: str, arithmetic: str) -> str:
    """``name@digest`` or ``name@digest+kind``, as URLs and X-Model have it: twelve digits are enough."""
    return f"{name}@{identity(digest[:12], arithmetic)}"
