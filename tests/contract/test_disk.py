from __future__ import annotations

import errno
from pathlib import Path

import pytest

from contract.claim import folder_id
from contract.disk import DiskError, check, writing
from contract.leftovers import sweep
from tests.full_disk import SmallDisk, small_disk

__all__ = ["small_disk"]


@pytest.mark.parametrize(
    ("number", "word"),
    [
        (errno.ENOSPC, "full"),
        (errno.EDQUOT, "quota"),
        (errno.EROFS, "read-only"),
        (errno.EACCES, "may not write"),
    ],
)
def test_what_stands_in_the_way_is_a_sentence(tmp_path: Path, number: int, word: str) -> None:
    with pytest.raises(DiskError, match=word) as caught, writing(tmp_path / "results"):
        raise OSError(number, "as the system has it")
    assert str(tmp_path) in str(caught.value)
    assert str(tmp_path) not in caught.value.told(tmp_path)
    assert "VITGAN_DATA_DIR/results" in caught.value.told(tmp_path)


def test_other_errors_stay_what_they_are(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), writing(tmp_path):
        (tmp_path / "none" / "file").write_text("")
    with pytest.raises(DiskError), writing(tmp_path / "results"):  # of one that could not be made
        raise OSError(errno.EROFS, "", str(tmp_path))
    with pytest.raises(PermissionError), writing(tmp_path / "results"):  # of a file somewhere else
        raise OSError(errno.EACCES, "", str(tmp_path / "models" / "config.json"))


def test_a_disk_is_looked_at_and_nothing_is_left(small_disk: SmallDisk) -> None:
    folder = small_disk.path / "data"
    check(folder)
    small_disk.fill()
    with pytest.raises(DiskError, match="the disk is full"):
        check(folder)
    with pytest.raises(DiskError, match="the disk is full"):
        folder_id(folder)
    small_disk.free()
    check(folder)
    assert list(folder.iterdir()) == []
    small_disk.make_read_only()
    with pytest.raises(DiskError, match="read-only"):
        check(folder)
    small_disk.make_writable()


def test_what_cannot_be_removed_stays(small_disk: SmallDisk) -> None:
    left = small_disk.path / "left.part"
    left.write_text("")
    small_disk.make_read_only()
    sweep([left], 0)
    small_disk.make_writable()
    sweep([left], 0)
    assert not left.exists()
