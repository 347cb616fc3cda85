"""IIIF Image API 3.0, level 2: any viewer zooms into a seed, drawn as it is looked at.

An identifier is ``model:seed``, and is redirected to ``model@digest:seed:side``, which names all that the
pixels follow from: what lies below that is cached for ever, unless the service's limits bear on its size.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote

from fastapi import Request
from fastapi.responses import RedirectResponse, Response

from app import iiif
from app.auth import Generates
from app.conditional import not_modified
from app.errors import NotFound, short
from app.heads import Router, head_only
from app.images import MEDIA_TYPES, Picture, image_response
from app.json_ld import JSON_LD, json_ld
from app.openapi import files
from app.paths import IiifFile, IiifRegion, IiifRotation, IiifSize, ImageIdentifier
from app.routes.images import FOR_EVER
from app.services import Services, Use
from app.settings import AppSettings
from app.visits import Visitor
from contract.messages import MAX_SIDE
from contract.models import PublishedModel
from contract.seeds import MAX_SEED, is_seed

router = Router(prefix="/iiif/3", tags=["iiif"])
preflights = Router(prefix="/iiif/3")  # a browser sends no key with them

IDENTIFIER = re.compile(r"([^:]*):([0-9]{1,10})(?::([0-9]{1,5}))?")
MIN_SIDE = 32  # as of the setting
BASE = "/{identifier}"
INFO = "/{identifier}/info.json"
URL = "/{identifier}/{region}/{size}/{rotation}/{file}"


@dataclass(frozen=True)
class Named:
    """The image that an identifier names."""

    model: PublishedModel
    seed: int
    side: int  # pixels
    pinned: bool  # whether the identifier fixes the model's digest and the side

    @property
    def identifier(self) -> str:
        """The one that fixes all."""
        return f"{self.model.reference}:{self.seed}:{self.side}"


@preflights.options(BASE, include_in_schema=False)
@preflights.options(INFO, include_in_schema=False)
@preflights.options(URL, include_in_schema=False)
async def preflight() -> Response:
    """What a browser asks before it lets another site's page read (the headers: app/browsers.py)."""
    return Response(status_code=204, headers={"Allow": "GET, HEAD, OPTIONS"})


@router.get(
    BASE,
    status_code=303,
    operation_id="get_iiif_base",
    summary="To info.json",
    response_class=RedirectResponse,
)
async def base(identifier: ImageIdentifier, request: Request, use: Use, client: Generates) -> Response:
    """The base URI stands for what is known of the image."""
    named(identifier, use)
    return RedirectResponse(f"{address(identifier, request)}/info.json", 303)


@router.get(
    INFO,
    operation_id="get_iiif_info",
    summary="What a viewer must know",
    responses={
        200: {"content": JSON_LD, "description": "JSON-LD if Accept names it"},
        304: {"description": "the client has it (If-None-Match)"},
        307: {"description": "to the URL that names the model's digest and the side"},
    },
)
async def info(identifier: ImageIdentifier, request: Request, use: Use, client: Generates) -> Response:
    """Size, tiles, limits and what is offered, as the standard words it."""
    image = named(identifier, use)
    if not image.pinned:
        return to_pinned(image, "info.json", request)
    about = iiif.information(address(identifier, request), image.side, limits(use.settings))
    return json_ld(about, request, {"Link": profile_link()})


@router.get(
    URL,
    operation_id="get_iiif_image",
    summary="Any part of a seed, at any size",
    response_class=Response,
    responses={
        200: {"content": files(*MEDIA_TYPES.values()), "description": "the image"},
        304: {"description": "the client has it (If-None-Match)"},
        307: {"description": "to the URL that names the model's digest and the side"},
        400: {"description": "not of the standard, or not offered"},
    },
)
async def image(
    identifier: ImageIdentifier,
    region: IiifRegion,
    size: IiifSize,
    rotation: IiifRotation,
    file: IiifFile,
    request: Request,
    use: Use,
    client: Generates,
    visit: Visitor,
) -> Response:
    """{region}/{size}/{rotation}/{quality}.{format} of IIIF Image API 3.0.

    curl -L localhost:8000/iiif/3/default:42/0,0,16384,16384/512,/0/default.webp -o corner.webp
    """
    image = named(identifier, use)
    asked = iiif.read(region, size, rotation, file, image.side, limits(use.settings))
    if not image.pinned:
        return to_pinned(image, f"{region}/{size}/{rotation}/{file}", request)
    picture = Picture(image.model, image.seed, 1.0, *asked.sides(image.side), asked.form)
    canonical = f'<{address(identifier, request)}/{asked.canonical}>;rel="canonical"'
    headers = picture.headers() | {
        "Cache-Control": FOR_EVER if iiif.is_fixed(size) else "no-cache",
        "Link": f"{canonical},{profile_link()}",
    }
    if answer := not_modified(request, picture.etag, headers):
        return answer
    if request.method == "HEAD":
        return head_only(headers, picture.media_type)
    return await image_response(picture, use, visit, headers)


def named(identifier: str, use: Services) -> Named:
    """What it names; raises ``NotFound``."""
    match = IDENTIFIER.fullmatch(identifier)
    side = int((match and match[3]) or use.settings.iiif_side)
    if not match or not is_seed(match[2]) or not MIN_SIDE <= side <= MAX_SIDE:
        raise NotFound(
            f"image {short(identifier)!r} does not exist: give model:seed, with a seed from 0 to {MAX_SEED}, "
            f"or model@digest:seed:side, with a side from {MIN_SIDE} to {MAX_SIDE} pixels"
        )
    return Named(use.model(match[1]), int(match[2]), side, "@" in match[1] and match[3] is not None)


def limits(settings: AppSettings) -> iiif.Limits:
    """Of one answer: all formats alike."""
    return iiif.Limits(min(settings.max_pixels, settings.max_whole_pixels))


def address(identifier: str, request: Request) -> str:
    """The image's base URI, as the client must write it."""
    return f"{str(request.base_url).rstrip('/')}/iiif/3/{quote(identifier, safe=':')}"


def to_pinned(image: Named, rest: str, request: Request) -> Response:
    """To the same under the model's digest and the side; asked anew each time."""
    where = address(image.identifier, request)
    return RedirectResponse(f"{where}/{quote(rest, safe='/,:!^')}", 307, {"Cache-Control": "no-cache"})


def profile_link() -> str:
    """The Link header's part that says how much of the standard is offered."""
    return f'<{iiif.PROFILE}>;rel="profile"'
