from __future__ import annotations

from pathlib import Path

import pytest

from model.run_folder import LOCK, held


def test_a_second_training_in_one_folder_is_refused(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with held(run):
        (run / "log.jsonl").write_text("")
        with (
            pytest.raises(ValueError, match=r"another training \(process \d+\) writes into .*--out"),
            held(run),
        ):
            pass
    with held(run):  # the first has ended
        assert (run / "log.jsonl").exists()


def test_a_folder_in_which_nothing_was_written_goes_again(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="few"), held(tmp_path / "run"):
        raise ValueError("few")
    assert list(tmp_path.iterdir()) == []
    with held(tmp_path):  # which was there before
        pass
    assert [path.name for path in tmp_path.iterdir()] == [LOCK]


@pytest.mark.parametrize("name", ["file", "file/run", "x" * 300])
def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="give another --out"), held(tmp_path / name):
        pass
