from __future__ import annotations

import threading
from pathlib import Path

import pytest

from contract.promotion import Promotion


def test_the_model_that_was_promoted_last_counts(tmp_path: Path) -> None:
    ours, other = (Promotion(tmp_path / "var" / "promoted", "shipped") for _ in range(2))
    assert ours.name == "shipped"
    for name in ("cats", "dogs", "shipped", "cats"):
        other.promote(name)
        assert ours.name == name
    assert [path.name for path in (tmp_path / "var").iterdir()] == ["promoted"]


def test_whoever_reads_meanwhile_reads_one_of_both(tmp_path: Path) -> None:
    promotion = Promotion(tmp_path / "promoted", "shipped")
    promotion.promote("a" * 64)
    done = threading.Event()

    def turn() -> None:
        for round_ in range(100):
            promotion.promote("ab"[round_ % 2] * 64)
        done.set()

    thread = threading.Thread(target=turn)
    thread.start()
    seen = set()
    while not done.is_set():
        seen.add(promotion.name)
    thread.join()
    assert seen <= {"a" * 64, "b" * 64}


def test_a_promotion_that_fails_leaves_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    promotion = Promotion(tmp_path / "promoted", "shipped")
    promotion.promote("cats")

    def full(self: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space"):
        promotion.promote("dogs")
    assert promotion.name == "cats"
    assert [path.name for path in tmp_path.iterdir()] == ["promoted"]
