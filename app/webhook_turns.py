"""Whose webhook is posted next: owners and receivers take turns, and silence holds up nobody else.

First come receivers that answer quickly, or are new; then the owner, and of one owner the receiver, with the
fewest deliveries under way. Those that answered slowly the last time, or not at all, share half of the
places.
"""

from __future__ import annotations

import heapq
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Iterable

from contract.webhooks import Due

MOST = 256  # deliveries under way
OF_OWNER, OF_RECEIVER = 128, 8
SLOW_SECONDS = 2.0  # that a delivery took
KNOWN_SLOW = 10_000  # receivers


class Turns:
    """What is under way in this process, and what may begin."""

    def __init__(self) -> None:
        self._under_way: dict[str, tuple[str, str, bool]] = {}  # id -> owner, receiver, slow when it began
        self._owners: Counter[str] = Counter()
        self._receivers: Counter[str] = Counter()
        self._slow_owners: Counter[str] = Counter()  # the deliveries of theirs to slow receivers
        self._slow: OrderedDict[str, None] = OrderedDict()

    def begin(self, waiting: Iterable[Due]) -> list[Due]:
        """Chooses those that may begin now, whose turn it is; of one receiver those that are due longest."""
        lines: defaultdict[tuple[str, str], deque[Due]] = defaultdict(deque)
        for due in waiting:
            if due.job_id not in self._under_way:
                lines[due.owner, due.receiver].append(due)
        heap = [(*self._rank(*line), number, line) for number, line in enumerate(lines)]
        heapq.heapify(heap)
        chosen: list[Due] = []
        while heap:
            *rank, number, line = heapq.heappop(heap)
            if not self._may(*line):
                continue  # and no more of it, as there is only less room from here on
            if tuple(rank) == self._rank(*line):
                chosen.append(self._take(lines[line].popleft(), *line))
            if lines[line]:
                heapq.heappush(heap, (*self._rank(*line), number, line))
        return chosen

    def end(self, due: Due, seconds: float = 0.0) -> None:
        """One is over, after so long."""
        owner, receiver, was_slow = self._under_way.pop(due.job_id)
        counters = [(self._owners, owner), (self._receivers, receiver)]
        counters += [(self._slow_owners, owner)] if was_slow else []
        for counter, name in counters:
            counter[name] -= 1
            if not counter[name]:
                del counter[name]
        self._slow.pop(receiver, None)
        if seconds >= SLOW_SECONDS:
            self._slow[receiver] = None
            if len(self._slow) > KNOWN_SLOW:
                self._slow.popitem(last=False)

    def _rank(self, owner: str, receiver: str) -> tuple[bool, int, int]:
        return receiver in self._slow, self._owners[owner], self._receivers[receiver]

    def _may(self, owner: str, receiver: str) -> bool:
        if receiver in self._slow and (
            self._slow_owners.total() >= MOST // 2 or self._slow_owners[owner] >= OF_OWNER // 2
        ):
            return False
        return (
            len(self._under_way) < MOST
            and self._owners[owner] < OF_OWNER
            and self._receivers[receiver] < OF_RECEIVER
        )

    def _take(self, due: Due, owner: str, receiver: str) -> Due:
        is_slow = receiver in self._slow
        self._under_way[due.job_id] = owner, receiver, is_slow
        self._owners[owner] += 1
        self._receivers[receiver] += 1
        self._slow_owners[owner] += is_slow
        return due
