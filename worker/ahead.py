"""Working ahead: the next strip is painted while the one before it is encoded and sent."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import TypeVar

Item = TypeVar("Item")


def ahead(items: Iterator[Item]) -> Iterator[Item]:
    """The same items, each made in a thread while the one before it is used; it counts and logs as we do."""
    ours = copy_context()

    def following() -> Item | None:
        return ours.run(lambda: next(items, None))

    with ThreadPoolExecutor(1, "ahead") as pool:
        coming = pool.submit(following)
        while (item := coming.result()) is not None:
            coming = pool.submit(following)
            yield item
