"""GET /images: the same image as POST /generate draws, as a plain URL that caches for ever.

A URL that names the model's digest never changes its bytes. One that names a model, or ``default``, is
redirected to it, so that no cache keeps the old picture under a promoted name.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

from fastapi import Path, Query, Request
from fastapi.responses import RedirectResponse, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from app.auth import Generates
from app.conditional import not_modified
from app.errors import InvalidRequest, invalid_request, short
from app.heads import Router, head_only
from app.images import MEDIA_TYPES, Picture, check_size, image_response
from app.numbers import DIGITS, DecimalText
from app.openapi import files
from app.paths import ModelName, SeedText
from app.schemas import GenerateBody
from app.services import Use
from app.visits import Visitor
from contract.messages import Form
from contract.models import PublishedModel
from contract.seeds import MAX_SEED, is_seed

router = Router(tags=["images"])

FORMATS = {"png": "png", "webp": "webp", "jpg": "jpeg"}
FOR_EVER = "public, max-age=31536000, immutable"


class Parameters(BaseModel):
    """What a URL says besides model and seed."""

    model_config = ConfigDict(extra="forbid")

    resolution: str = Field("256", description="N or WIDTHxHEIGHT, in pixels", examples=["512", "333x200"])
    region: str | None = Field(
        None, description="x,y,width,height in pixels of the whole: only that part", examples=["0,0,64,64"]
    )
    truncation: DecimalText = Field(
        1.0, description="0 to 1; 1: the model as it is, toward 0: nearer to its mean picture"
    )


URL = "/images/{model}/{seed}.{suffix}"


@router.get(
    URL,
    operation_id="get_image",
    summary="One image as a URL",
    response_class=Response,
    responses={
        200: {"content": files(*MEDIA_TYPES.values()), "description": "the image"},
        304: {"description": "the client has it (If-None-Match)"},
        307: {"description": "to the URL that names the model's digest"},
    },
)
async def image(
    model: ModelName,
    seed: SeedText,
    suffix: Annotated[Literal["png", "webp", "jpg"], Path(description="the format")],
    parameters: Annotated[Parameters, Query()],
    request: Request,
    use: Use,
    client: Generates,
    visit: Visitor,
) -> Response:
    """The bytes of POST /generate; ``model`` is a name, or name@digest.

    curl -L 'localhost:8000/images/default/42.png?resolution=512' -o seed0042.png
    """
    published = use.model(model)
    if "@" not in model:
        target = request.url.replace(
            path=f"{use.settings.root_path}/images/{published.reference}/{seed}.{suffix}"
        )
        where = f"{target.path}?{target.query}" if target.query else target.path
        return RedirectResponse(where, 307, {"Cache-Control": "no-cache"})
    picture = asked(published, seed, suffix, parameters)
    check_size(picture.columns, picture.rows, picture.form, use.settings)
    headers = picture.headers() | {"Cache-Control": FOR_EVER}
    if answer := not_modified(request, picture.etag, headers):
        return answer
    if request.method == "HEAD":
        return head_only(headers, picture.media_type)
    return await image_response(picture, use, visit, headers)


def asked(published: PublishedModel, seed: str, suffix: str, parameters: Parameters) -> Picture:
    """What the URL says, checked as the body of POST /generate is; raises ``InvalidRequest``."""
    if not is_seed(seed):
        raise InvalidRequest(f"seed: {short(seed)!r}, give a whole number from 0 to {MAX_SEED}")
    try:
        body = GenerateBody.model_validate(
            {
                "seed": int(seed),
                "resolution": numbers("resolution", parameters.resolution, "x", (1, 2)),
                "truncation": parameters.truncation,
                "region": numbers("region", parameters.region, ",", (4,)) if parameters.region else None,
                "format": FORMATS[suffix],
            }
        )
    except ValidationError as error:
        raise invalid_request(error.errors()) from None
    return Picture(published, body.seed, body.truncation, *body.sides, Form(format=body.format))


def numbers(field: str, text: str, between: str, counts: tuple[int, ...]) -> list[int]:
    """``333x200`` or ``0,0,10,10`` to whole numbers; one side stands for both."""
    parts = text.split(between)
    if len(parts) not in counts or not all(re.fullmatch(DIGITS, part) for part in parts):
        example = "512 or 333x200" if field == "resolution" else "x,y,width,height in pixels"
        raise InvalidRequest(f"{field}: {short(text)!r}, give {example}")
    values = [int(part) for part in parts]
    return values * 2 if counts == (1, 2) and len(values) == 1 else values
