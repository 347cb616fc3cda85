"""The waiting room: clients take turns, so that a thousand images of one do not delay another's first.

What waits lies under its client, and there under what it can be drawn together with (its key).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Item = TypeVar("Item")


class Turns(Generic[Key, Item]):
    """Items by client, key and id; those whose key is due can be taken."""

    def __init__(self) -> None:
        # The client whose turn it is comes first; of one client, what has waited longest.
        self._waiting: OrderedDict[str, OrderedDict[Key, OrderedDict[str, Item]]] = OrderedDict()
        self._where: dict[str, tuple[str, Key]] = {}
        self._counts: dict[Key, int] = {}
        self._due: set[Key] = set()

    def __len__(self) -> int:
        return len(self._where)

    def count(self, key: Key) -> int:
        """Items of that key, of all clients."""
        return self._counts.get(key, 0)

    def add(self, client: str, key: Key, item_id: str, item: Item) -> None:
        """One more that waits."""
        self._waiting.setdefault(client, OrderedDict()).setdefault(key, OrderedDict())[item_id] = item
        self._where[item_id] = client, key
        self._counts[key] = self.count(key) + 1

    def remove(self, item_id: str) -> Item | None:
        """It waits no longer; None if it did not wait."""
        if (where := self._where.pop(item_id, None)) is None:
            return None
        client, key = where
        keys = self._waiting[client]
        item = keys[key].pop(item_id)
        if not keys[key]:
            del keys[key]
        if not keys:
            del self._waiting[client]
        self._counts[key] -= 1
        if not self._counts[key]:
            del self._counts[key]
            self._due.discard(key)
        return item

    def make_due(self, key: Key) -> None:
        """From now on items of that key can be taken, until none is left."""
        if key in self._counts:
            self._due.add(key)

    def take(
        self, full: Callable[[Key], int], may: Callable[[str, Key], bool]
    ) -> tuple[str, Key, list[Item]] | None:
        """The next client's oldest due key that it ``may`` have drawn, and up to ``full`` items of that key.

        The items are of all clients that wait for such, one each in turn. None if there is nothing to take.
        """
        for client, keys in self._waiting.items():
            for key in keys:
                if key in self._due and may(client, key):
                    taken = self._fill(client, key, full(key))
                    if client in self._waiting:
                        self._waiting.move_to_end(client)
                    return client, key, taken
        return None

    def _fill(self, first: str, key: Key, most: int) -> list[Item]:
        others = [client for client, keys in self._waiting.items() if key in keys and client != first]
        taken: list[Item] = []
        while len(taken) < most:
            round_ = [client for client in (first, *others) if key in self._waiting.get(client, ())]
            if not round_:
                break
            for client in round_[: most - len(taken)]:
                item = self.remove(next(iter(self._waiting[client][key])))
                assert item is not None
                taken.append(item)
        return taken
