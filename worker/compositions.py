"""One file of several seeds: a grid, or an animation from one to the next; sent back as it is painted."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import numpy as np
from redis import Redis
from structlog.contextvars import bound_contextvars

from contract.messages import BEGINNING, Composition, Form, Grid, Position, Side, Walk
from model.interpolation import Walk as Path
from model.rendering import strip_rows
from worker.ahead import ahead
from worker.animations import ApngEncoder, WebpEncoder
from worker.encoders import encoder_for
from worker.engine import Engine
from worker.images import Reply, answering, never, tell_taken
from worker.metrics import ORDERS, order_timed, stage
from worker.png import Piece, PngEncoder

FRAMES_AT_ONCE = 8
PIXELS_AT_ONCE = 2**20  # of the frames that are drawn together
WHITE = 255


def draw_composition(
    order: Composition, engine: Engine, redis: Redis, worker: str, should_stop: Callable[[], bool] = never
) -> None:
    """Draws it and replies; nothing is drawn after the deadline. See ``worker.images.draw_batch``."""
    if time.time() > order.deadline:
        ORDERS.labels(outcome="late").inc()
        return
    reply = Reply(redis, order, order.id, 1, worker, order.position, count_strips(order.what), should_stop)
    with order_timed(time.time() - order.sent_at, [order.trace]), bound_contextvars(request_id=order.request):
        tell_taken(redis, order, worker)
        with answering(redis, order, [reply]):
            for piece in ahead(pieces(order.what, order.model, order.digest, engine, order.position)):
                reply.write(piece, stream=True)


def count_strips(what: Grid | Walk) -> int:
    """Parts of the whole, as a ``Position`` counts them: a walk's are its frames."""
    if isinstance(what, Walk):
        return what.frames
    lines = -(-len(what.seeds) // what.across)
    return lines * -(-what.rows.count // strip_rows(what.columns.count))


def pieces(
    what: Grid | Walk, model: str, digest: str, engine: Engine, position: Position = BEGINNING
) -> Iterator[Piece]:
    """The file's bytes, from that position on."""
    text = told(what, engine.identity(digest))
    if isinstance(what, Grid):
        png = PngEncoder(what.width, what.height, text, position.strip, position.adler)
        yield from map(encoded(png.strip), grid_strips(what, model, digest, engine, position.strip))
        yield png.end()
    else:
        animation = ApngEncoder(what, text, position.strip) if what.format == "png" else WebpEncoder(what)
        yield from map(encoded(animation.frame), walk_frames(what, model, digest, engine, position.strip))
        yield animation.end()


def encoded(encode: Callable[[np.ndarray], Piece]) -> Callable[[np.ndarray], Piece]:
    """The same, timed."""

    def timed(pixels: np.ndarray) -> Piece:
        with stage("encode"):
            return encode(pixels)

    return timed


def image_pieces(
    model: str,
    digest: str,
    seed: int,
    truncation: float,
    columns: Side,
    rows: Side,
    form: Form,
    engine: Engine,
) -> Iterator[Piece]:
    """The bytes of one image."""
    encoder = encoder_for(engine.identity(digest), seed, truncation, columns, rows, form)
    for strip in ahead(engine.draw(model, digest, [seed], [truncation], columns, rows)):
        yield encoder.strip(strip[0])
    yield encoder.end()


def grid_strips(grid: Grid, model: str, digest: str, engine: Engine, first: int) -> Iterator[np.ndarray]:
    """Strips [rows, width, 3] uint8 from the strip ``first`` on; a row of pictures is drawn as a batch."""
    line, first = divmod(first, -(-grid.rows.count // strip_rows(grid.columns.count)))
    for start in range(line * grid.across, len(grid.seeds), grid.across):
        seeds = grid.seeds[start : start + grid.across]
        truncations = [grid.truncation] * len(seeds)
        for strip in engine.draw(model, digest, seeds, truncations, grid.columns, grid.rows, first):
            beside = np.full((strip.shape[1], grid.width, 3), WHITE, np.uint8)
            beside[:, : len(seeds) * grid.columns.count] = np.concatenate(list(strip), axis=1)
            yield beside
        first = 0


def walk_frames(walk: Walk, model: str, digest: str, engine: Engine, first: int) -> Iterator[np.ndarray]:
    """Frames [height, width, 3] uint8 from the frame ``first`` on, several drawn together."""
    generator = engine.generator(model, digest)
    path = Path(generator, walk.seeds, walk.frames, walk.space, walk.loop, walk.truncation)
    together = max(1, min(FRAMES_AT_ONCE, PIXELS_AT_ONCE // (walk.columns.count * walk.rows.count)))
    for start in range(first, walk.frames, together):
        with stage("tokens"):
            tokens = path.tokens(start, min(start + together, walk.frames))
        strips = list(engine.paint(generator, tokens, walk.columns, walk.rows))
        yield from np.concatenate(strips, axis=1)


def told(what: Grid | Walk, model: str) -> dict[str, str]:
    """What the file says of its making."""
    text = {
        "Software": "ViTGAN",
        "Seeds": ",".join(str(seed) for seed in what.seeds),
        "Model": model,
        "Resolution": f"{what.columns.full}x{what.rows.full}",
        "Truncation": repr(float(what.truncation)),
    }
    return text | ({"Space": what.space} if isinstance(what, Walk) else {})
