"""Several images as one zip, sent while they are drawn; no temporary file."""

from __future__ import annotations

import asyncio
import hashlib
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from fastapi.responses import StreamingResponse

from app.errors import ServiceError
from app.images import Picture, first_frame, holding, image_bytes, the_rest
from app.replies import BrokenImageError
from app.services import Services
from app.visits import Visit
from contract.zips import Archive

ASKED_AHEAD = 96  # small images, so that batches fill up while others are drawn and sent


async def zip_response(pictures: Sequence[Picture], use: Services, visit: Visit) -> StreamingResponse:
    """The zip of all pictures, in their order; raises what keeps the first one from being drawn."""
    use.require_fleet(pictures[0].model.arithmetic)
    together = 1 if pictures[0].key.alone else min(len(pictures), ASKED_AHEAD)
    place = await use.gate.enter(visit.client, visit.bound, together, together * pictures[0].key.pixels)
    parts = holding(place, zip_parts(pictures, use, visit))
    first = await visit.work(anext(parts))

    async def rest() -> AsyncGenerator[bytes, None]:
        async with aclosing(parts):
            yield first
            try:
                async for part in parts:
                    yield part
            except ServiceError as error:  # too late for an answer of its own
                raise BrokenImageError(error.detail) from error

    model = pictures[0].model
    tags = hashlib.sha256("".join(picture.etag for picture in pictures).encode()).hexdigest()[:32]
    headers = {
        "X-Model": model.reference,
        "ETag": f'"{tags}"',
        "Content-Disposition": f'attachment; filename="{model.name}.zip"',
    }
    return StreamingResponse(rest(), headers=headers, media_type="application/zip")


async def zip_parts(pictures: Sequence[Picture], use: Services, visit: Visit) -> AsyncGenerator[bytes, None]:
    """The zip's bytes; an image that fails breaks them off, so that a short zip never looks whole."""
    archive = Archive()
    entries = large_entries if pictures[0].key.alone else small_entries
    async with aclosing(entries(archive, pictures, use, visit)) as written:
        async for _ in written:
            if part := archive.take():
                yield part
    archive.close()
    yield archive.take()


async def small_entries(
    archive: Archive, pictures: Sequence[Picture], use: Services, visit: Visit
) -> AsyncGenerator[None, None]:
    """Many are asked for at once, so that they are drawn in batches."""
    waiting = deque(pictures)
    asked: deque[tuple[Picture, asyncio.Task[bytes]]] = deque()
    try:
        while waiting or asked:
            while waiting and len(asked) < ASKED_AHEAD:
                picture = waiting.popleft()
                asked.append((picture, asyncio.create_task(image_bytes(picture, use, visit))))
            picture, task = asked[0]
            data = await task
            with archive.open(picture.seed, picture.form.format) as file:
                file.write(data)
            asked.popleft()
            if not (asked and asked[0][1].done()):  # what came together is sent together
                yield
    finally:
        for _, task in asked:
            task.cancel()
        await asyncio.gather(*(task for _, task in asked), return_exceptions=True)


async def large_entries(
    archive: Archive, pictures: Sequence[Picture], use: Services, visit: Visit
) -> AsyncGenerator[None, None]:
    """One after the other, each as it is painted."""
    for picture in pictures:
        first = await first_frame(picture, use, visit)
        chunks = the_rest(picture, first, use)
        async with aclosing(chunks):
            with archive.open(picture.seed, picture.form.format) as file:
                async for chunk in chunks:
                    file.write(chunk)
                    yield
