"""IIIF Image API 3.0, level 2: any viewer zooms into a seed, drawn as it is looked at.

An identifier is ``model:seed``, or ``model@digest:seed``. The latter never changes and is cached for ever;
the former is redirected to it.
"""

from __future__ import annotations

from urllib.parse import quote

from fastapi import Request
from fastapi.responses import JSONResponse, RedirectResponse, Response

from app import iiif
from app.auth import Generates
from app.conditional import not_modified
from app.errors import NotFound, short
from app.heads import Router, head_only
from app.images import MEDIA_TYPES, Picture, image_response
from app.routes.images import FOR_EVER
from app.services import Services, Use
from app.settings import AppSettings
from app.visits import Visitor
from contract.models import PublishedModel
from contract.seeds import MAX_SEED, is_seed

router = Router(prefix="/iiif/3", tags=["iiif"])
preflights = Router(prefix="/iiif/3")  # a browser sends no key with them

JSON_LD = f'application/ld+json;profile="{iiif.CONTEXT}"'


@preflights.options("/{rest:path}", include_in_schema=False)
async def preflight(rest: str) -> Response:
    """What a browser asks before it lets another site's page read (the headers: app/middleware.py)."""
    return Response(status_code=204, headers={"Allow": "GET, HEAD, OPTIONS"})


@router.get("/{identifier}", status_code=303, summary="To info.json", response_class=RedirectResponse)
async def base(identifier: str, request: Request, use: Use, client: Generates) -> Response:
    """The base URI stands for what is known of the image."""
    named(identifier, use)
    return RedirectResponse(f"{address(identifier, request)}/info.json", 303)


@router.get(
    "/{identifier}/info.json",
    summary="What a viewer must know",
    responses={
        200: {"content": {"application/ld+json": {}}, "description": "JSON-LD if Accept names it"},
        307: {"description": "to the URL that names the model's digest"},
    },
)
async def info(identifier: str, request: Request, use: Use, client: Generates) -> Response:
    """Size, tiles, limits and what is offered, as the standard words it."""
    model, seed, pinned = named(identifier, use)
    if not pinned:
        return to_digest(model, seed, "info.json", request)
    about = iiif.information(address(identifier, request), use.settings.iiif_side, limits(use.settings))
    wants_ld = "application/ld+json" in request.headers.get("accept", "")
    headers = {"Cache-Control": FOR_EVER, "Vary": "Accept", "Link": profile_link()}
    return JSONResponse(about, media_type=JSON_LD if wants_ld else "application/json", headers=headers)


URL = "/{identifier}/{region}/{size}/{rotation}/{file}"


@router.get(
    URL,
    summary="Any part of a seed, at any size",
    response_class=Response,
    responses={
        200: {"content": {media: {} for media in MEDIA_TYPES.values()}, "description": "the image"},
        304: {"description": "the client has it (If-None-Match)"},
        307: {"description": "to the URL that names the model's digest"},
        400: {"description": "not of the standard, or not offered"},
    },
)
async def image(
    identifier: str,
    region: str,
    size: str,
    rotation: str,
    file: str,
    request: Request,
    use: Use,
    client: Generates,
    visit: Visitor,
) -> Response:
    """{region}/{size}/{rotation}/{quality}.{format} of IIIF Image API 3.0.

    curl -L localhost:8000/iiif/3/default:42/0,0,16384,16384/512,/0/default.webp -o corner.webp
    """
    model, seed, pinned = named(identifier, use)
    full = use.settings.iiif_side
    asked = iiif.read(region, size, rotation, file, full, limits(use.settings))
    if not pinned:
        return to_digest(model, seed, f"{region}/{size}/{rotation}/{file}", request)
    picture = Picture(model, seed, 1.0, *asked.sides(full), asked.form)
    canonical = f'<{address(identifier, request)}/{asked.canonical}>;rel="canonical"'
    headers = picture.headers() | {"Cache-Control": FOR_EVER, "Link": f"{canonical},{profile_link()}"}
    if answer := not_modified(request, picture.etag, headers):
        return answer
    if request.method == "HEAD":
        return head_only(headers, picture.media_type)
    return await image_response(picture, use, visit, headers)


def named(identifier: str, use: Services) -> tuple[PublishedModel, int, bool]:
    """Model, seed, and whether the model's digest is named; raises ``NotFound``."""
    name, _, seed = identifier.rpartition(":")
    if not is_seed(seed):
        raise NotFound(
            f"image {short(identifier)!r} does not exist: give model:seed, with a seed from 0 to {MAX_SEED}"
        )
    return use.model(name), int(seed), "@" in name


def limits(settings: AppSettings) -> iiif.Limits:
    """Of one answer: all formats alike."""
    return iiif.Limits(min(settings.max_pixels, settings.max_whole_pixels))


def address(identifier: str, request: Request) -> str:
    """The image's base URI, as the client must write it."""
    return f"{str(request.base_url).rstrip('/')}/iiif/3/{quote(identifier, safe=':')}"


def to_digest(model: PublishedModel, seed: int, rest: str, request: Request) -> Response:
    """To the same under the model's digest; asked anew each time."""
    where = address(f"{model.reference}:{seed}", request)
    return RedirectResponse(f"{where}/{quote(rest, safe='/,:!^')}", 307, {"Cache-Control": "no-cache"})


def profile_link() -> str:
    """The Link header's part that says how much of the standard is offered."""
    return f'<{iiif.PROFILE}>;rel="profile"'
