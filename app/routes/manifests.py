"""IIIF Presentation API 3.0: seeds of a model as a manifest, which Mirador and other viewers open."""

from __future__ import annotations

import math
from urllib.parse import quote

from fastapi import Request
from fastapi.responses import Response

from app.auth import Generates
from app.errors import BadRequest, NotFound, short
from app.heads import Router
from app.json_ld import JSON_LD, json_ld
from app.paths import ManifestIdentifier
from app.presentation import MAX_CANVASES, Seen, manifest
from app.routes.iiif import Named, address, limits
from app.services import Use
from contract.seeds import count_seeds, parse_seeds, write_seeds

router = Router(prefix="/iiif/presentation/3", tags=["iiif"])
preflights = Router(prefix="/iiif/presentation/3")

MANIFEST = "/{identifier}/manifest.json"
SHOWN = 1024  # pixels of the image that a viewer without zoom shows


@preflights.options(MANIFEST, include_in_schema=False)
async def preflight() -> Response:
    """As of images (app/routes/iiif.py)."""
    return Response(status_code=204, headers={"Allow": "GET, HEAD, OPTIONS"})


@router.get(
    MANIFEST,
    operation_id="get_iiif_manifest",
    summary="Seeds as a manifest",
    response_class=Response,
    responses={
        200: {
            "content": JSON_LD,
            "description": "JSON-LD if Accept names it",
        },
        304: {"description": "the client has it (If-None-Match)"},
        400: {"description": f"more than {MAX_CANVASES} seeds, or one twice"},
    },
)
def seeds_manifest(identifier: ManifestIdentifier, request: Request, use: Use, client: Generates) -> Response:
    """One canvas for each of up to 500 seeds; ``identifier`` is ``model:seeds``, such as ``default:0-15,20``.

    curl localhost:8000/iiif/presentation/3/default:0-15/manifest.json
    """
    name, _, text = identifier.rpartition(":")
    seeds = read_seeds(text, identifier)
    model, side = use.model(name), use.settings.iiif_side
    images = [
        Seen(seed, address(Named(model, seed, side, pinned=True).identifier, request)) for seed in seeds
    ]
    about = manifest(
        f"{str(request.base_url).rstrip('/')}{router.prefix}/{quote(identifier, safe=':,')}/manifest.json",
        f"{model.reference}, seeds {write_seeds(seeds)}",
        images,
        side,
        min(SHOWN, side, math.isqrt(limits(use.settings).area)),
    )
    return json_ld(about, request)


def read_seeds(text: str, identifier: str) -> list[int]:
    """The seeds as they stand in the URL; raises ``NotFound`` or ``BadRequest``."""
    try:
        count = count_seeds(text)
        seeds = parse_seeds(text) if count <= MAX_CANVASES else []
    except ValueError as error:
        raise NotFound(f"manifest {short(identifier)!r} does not exist: give model:seeds; {error}") from None
    if not seeds:
        raise BadRequest(f"seeds: {count} of them, at most {MAX_CANVASES} are put into one manifest")
    if len(set(seeds)) < len(seeds):
        raise BadRequest("seeds: one stands there twice, give each once")
    return seeds
