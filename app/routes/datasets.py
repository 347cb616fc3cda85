"""Datasets: POST /datasets takes a zip of pictures, GET tells what there is."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import re
import tempfile
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from fastapi import Request
from pydantic import ValidationError
from starlette.datastructures import UploadFile

from app.answers import Dataset, Datasets
from app.auth import Trains
from app.datasets import dataset_names, read_dataset, read_datasets, store_dataset, taken
from app.errors import InvalidRequest, NotFound, UnsupportedType
from app.heads import Router
from app.idempotency import Repeatable, Repeats
from app.paths import DatasetName
from app.queries import Cursor, Limit
from app.schemas import page
from app.services import Services, Use
from contract.disk import writing
from contract.messages import NAME_PATTERN

log = logging.getLogger(__name__)

router = Router(prefix="/datasets", tags=["datasets"])

_FORM = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file", "name"],
                    "properties": {
                        "file": {"type": "string", "format": "binary"},
                        "name": {"type": "string", "pattern": NAME_PATTERN},
                    },
                }
            }
        },
    }
}


@router.post(
    "",
    status_code=201,
    operation_id="upload_dataset",
    summary="Upload a zip of pictures",
    openapi_extra=_FORM,
)
async def upload(request: Request, use: Use, client: Trains, repeats: Repeatable) -> Dataset:
    """Keeps the readable pictures of the zip; the answer names what was left out, and why.

    curl -F name=cats -F file=@cats.zip localhost:8000/datasets
    """
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        raise UnsupportedType("send multipart/form-data with the fields `file` (a zip) and `name`")
    with use.uploads.enter(client.id):
        return await _taken(request, use, client.id, repeats)


async def _taken(request: Request, use: Services, client: str, repeats: Repeats) -> Dataset:
    """Reads the form, and stores the dataset when it is its turn."""
    folder = Path(tempfile.gettempdir())
    async with contextlib.AsyncExitStack() as opened:
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            form = await opened.enter_async_context(request.form(max_files=1, max_fields=1))
        file, name = form.get("file"), form.get("name")
        if extra := set(form) - {"file", "name"}:
            raise InvalidRequest(f"{', '.join(sorted(extra))}: unknown field, leave it out")
        if not isinstance(file, UploadFile):
            raise InvalidRequest("file: required, give a zip of pictures")
        if not isinstance(name, str) or not re.fullmatch(NAME_PATTERN, name):
            raise InvalidRequest(
                "name: required, 1 to 64 lower-case letters, digits, '.', '_' or '-', "
                "beginning with a letter or digit"
            )
        return await use.uploads.check(client, partial(_store, file.file, name, use, client, repeats))


def _store(file: BinaryIO, name: str, use: Services, client: str, repeats: Repeats) -> Dataset:
    if repeats.key is None and name in dataset_names(use.settings):
        raise taken(name)  # before all of it is read once more
    content = hashlib.file_digest(file, "sha256").hexdigest() if repeats.key else ""  # type: ignore[arg-type]
    settled = repeats.settle(use.jobs.redis, f"{name}\n{content}")
    return told(store_dataset(file, name, settled.id, client, use.settings))


@router.get("", operation_id="list_datasets", summary="List datasets")
def listing(use: Use, client: Trains, limit: Limit = 100, cursor: Cursor = None) -> Datasets:
    """All datasets by name, a page at a time."""
    names = page(dataset_names(use.settings), str, limit, cursor)
    items = []
    for info in read_datasets(names.items, use.settings):
        with contextlib.suppress(NotFound):
            items.append(told(info))
    return Datasets(items=items, next_cursor=names.next_cursor)


@router.get("/{name}", operation_id="get_dataset", summary="One dataset")
def one(name: DatasetName, use: Use, client: Trains) -> Dataset:
    """What was kept, what was left out."""
    return told(read_dataset(name, use.settings))


def told(info: dict[str, Any]) -> Dataset:
    """What is said of a dataset; raises ``NotFound`` if its file says too little, or something else."""
    try:
        return Dataset.model_validate(info)
    except ValidationError as error:
        log.error("a dataset's info.json cannot be read: %s", error)
        raise NotFound("the dataset cannot be read: the service's log says why") from None
