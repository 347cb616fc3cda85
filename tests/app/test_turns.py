"""The waiting room, without anything around it."""

from __future__ import annotations

from collections import Counter

from app.turns import Turns


def always(client: str, key: str) -> bool:
    return True


def filled(**waiting: tuple[str, int]) -> Turns[str, str]:
    """Clients with so many items of a key, which is due."""
    turns: Turns[str, str] = Turns()
    for client, (key, count) in waiting.items():
        for number in range(count):
            turns.add(client, key, f"{client}{number}", f"{client}{number}")
        turns.make_due(key)
    return turns


def test_a_thousand_of_one_client_do_not_delay_anothers_first() -> None:
    turns = filled(many=("64px", 1000), one=("64px", 1))
    first = turns.take(lambda key: 32, always)
    assert first is not None
    assert first[2][:2] == ["many0", "one0"]  # one each in turn
    assert len(first[2]) == 32


def test_clients_take_turns_whatever_their_images_are() -> None:
    turns = filled(a=("64px", 100), b=("128px", 100), c=("large", 3))
    taken = [turns.take(lambda key: 1 if key == "large" else 8, always) for _ in range(9)]
    assert [got[0] for got in taken if got] == ["a", "b", "c"] * 3
    assert len(turns) == 100 - 24 + 100 - 24


def test_a_batch_is_shared_evenly_and_filled() -> None:
    turns = filled(a=("k", 50), b=("k", 50), c=("k", 2))
    got = turns.take(lambda key: 32, always)
    assert got is not None
    assert Counter(item[0] for item in got[2]) == {"a": 15, "b": 15, "c": 2}


def test_one_clients_items_come_in_their_order() -> None:
    turns = filled(a=("x", 2))
    turns.add("a", "y", "y0", "y0")
    turns.make_due("y")
    assert [turns.take(lambda key: 2, always) for _ in range(3)] == [
        ("a", "x", ["a0", "a1"]), ("a", "y", ["y0"]), None,
    ]  # fmt: skip


def test_nothing_is_taken_that_is_not_due_or_may_not() -> None:
    turns = filled(a=("x", 1))
    turns.add("b", "y", "b0", "b0")
    assert turns.take(lambda key: 9, lambda client, key: client != "a") is None
    turns.make_due("y")
    assert turns.take(lambda key: 9, lambda client, key: client != "a") == ("b", "y", ["b0"])
    assert turns.take(lambda key: 9, always) == ("a", "x", ["a0"])


def test_who_leaves_is_not_taken() -> None:
    turns = filled(a=("x", 2))
    assert turns.remove("a0") == "a0"
    assert turns.remove("a0") is None
    assert turns.take(lambda key: 9, always) == ("a", "x", ["a1"])
    assert (len(turns), turns.count("x")) == (0, 0)
    turns.add("a", "x", "a2", "a2")
    assert turns.take(lambda key: 9, always) is None  # due no longer: it begins anew
