"""What stands in the paths of routes, each described once."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path

from contract.seeds import MAX_SEED

ModelName = Annotated[
    str, Path(description="a model's name, name@digest as X-Model has it, or `default`", examples=["default"])
]
DatasetName = Annotated[str, Path(description="an uploaded dataset's name", examples=["cats"])]
JobId = Annotated[
    str, Path(description="a job's id, 32 hex digits", examples=["0e26ccf4a0c34c1b8b1f6fdd6f2f8f4d"])
]
SeedText = Annotated[str, Path(description=f"a whole number from 0 to {MAX_SEED}", examples=["11"])]
ImageIdentifier = Annotated[
    str,
    Path(
        description="model:seed, or model@digest:seed:side, which fixes the model's digest and the whole "
        "image's side in pixels",
        examples=["default:11"],
    ),
]
ManifestIdentifier = Annotated[
    str, Path(description="model:seeds, numbers and ranges", examples=["default:0-15,20"])
]
IiifRegion = Annotated[str, Path(description="full, square, x,y,w,h or pct:x,y,w,h", examples=["full"])]
IiifSize = Annotated[
    str, Path(description="max, w, ,h pct:n w,h or !w,h, each with ^ before it to enlarge", examples=["512,"])
]
IiifRotation = Annotated[
    str, Path(description="0, 90, 180 or 270, or one of them after ! to mirror first", examples=["0"])
]
IiifFile = Annotated[
    str,
    Path(description="default, color, gray or bitonal, then .png, .jpg or .webp", examples=["default.png"]),
]
