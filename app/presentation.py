"""A manifest of IIIF Presentation API 3.0: seeds of a model as pages to turn (https://iiif.io/api/presentation/3.0/)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

CONTEXT = "http://iiif.io/api/presentation/3/context.json"
MAX_CANVASES = 500  # some 1,100 bytes each


@dataclass(frozen=True)
class Seen:
    """One seed's image."""

    seed: int
    service: str  # base URI of its Image API


def manifest(address: str, label: str, images: list[Seen], side: int, shown: int) -> dict[str, Any]:
    """What manifest.json at ``address`` says: one canvas a seed, of ``side`` pixels.

    Viewers that cannot zoom show the image at ``shown`` pixels.
    """
    base = address.rpartition("/")[0]
    return {
        "@context": CONTEXT,
        "id": address,
        "type": "Manifest",
        "label": {"en": [label]},
        "behavior": ["individuals"],
        "items": [_canvas(f"{base}/canvas/{image.seed}", image, side, shown) for image in images],
    }


def _canvas(address: str, image: Seen, side: int, shown: int) -> dict[str, Any]:
    body = _image(image, shown)
    painting = {
        "id": f"{address}/painting",
        "type": "Annotation",
        "motivation": "painting",
        "body": body,
        "target": address,
    }
    return {
        "id": address,
        "type": "Canvas",
        "label": {"en": [f"Seed {image.seed}"]},
        "width": side,
        "height": side,
        "thumbnail": [_image(image, min(shown, 128))],
        "items": [{"id": f"{address}/page", "type": "AnnotationPage", "items": [painting]}],
    }


def _image(image: Seen, pixels: int) -> dict[str, Any]:
    return {
        "id": f"{image.service}/full/{pixels},{pixels}/0/default.jpg",
        "type": "Image",
        "format": "image/jpeg",
        "width": pixels,
        "height": pixels,
        "service": [{"id": image.service, "type": "ImageService3", "profile": "level2"}],
    }
