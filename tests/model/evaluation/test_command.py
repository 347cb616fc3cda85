from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from torch import Tensor

from cli.evaluate import run_evaluation
from model.checkpoint import save_model
from model.generator import Generator


@pytest.fixture
def data(tmp_path: Path, drawn: Callable[..., Tensor]) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for n, picture in enumerate(drawn(40, side=16)):
        Image.fromarray(picture.permute(1, 2, 0).numpy()).save(folder / f"{n:02d}.png")
    return folder


@pytest.fixture
def model(tmp_path: Path, generator: Generator) -> Path:
    save_model(
        tmp_path / "tiny", generator, {"preset": "tiny", "kimg": 0, "created_at": "2026-01-01T00:00:00Z"}
    )
    return tmp_path / "tiny"


def test_it_prints_a_table_and_writes_the_same_json_and_picture_each_time(
    model: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("one", "two"):
        code = run_evaluation(
            str(model), data, count=500, seed=7, out=tmp_path / name, device="cpu", fid=False,
            cache=tmp_path / "cache",
        )  # fmt: skip
        assert code == 0
    printed = capsys.readouterr().out
    for name in ("evaluation.json", "neighbours.png"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()

    report = json.loads((tmp_path / "one/evaluation.json").read_text())
    about = {name: report[name] for name in ("model", "data", "pictures", "count", "seed", "resolution")}
    assert about == {
        "model": "tiny",
        "data": "pictures",
        "pictures": 40,
        "count": 20,
        "seed": 7,
        "resolution": 16,
    }
    table = [line.split() for line in printed.splitlines()]
    assert ["model", "other_half", "blurred", "noise"] in table
    sets = list(report["rows"])
    for measure in ("swd_16", "swd", "fcd", "precision", "recall"):
        assert [measure, *(f"{report['rows'][name][measure]:.4g}" for name in sets)] in table
    with Image.open(tmp_path / "one/neighbours.png") as picture:
        assert picture.size == (64 * (1 + 1 + 4 + 1 + 4), 64 * 12)


def test_wrong_arguments_are_refused_in_a_sentence(model: Path, data: Path, tmp_path: Path) -> None:
    def run(**changes: object) -> int:
        given = {"model": str(model), "data": data, "count": 8, "seed": 0, "out": tmp_path / "out",
                 "device": "cpu", "fid": False, "cache": tmp_path / "cache"} | changes  # fmt: skip
        return run_evaluation(**given)  # type: ignore[arg-type]

    with pytest.raises(ValueError, match="'nobody' is no model"):
        run(model="nobody")
    with pytest.raises(ValueError, match="device is 'gpu': give cpu or cuda"):
        run(device="gpu")
    with pytest.raises(ValueError, match="count is 2, of 40 pictures"):
        run(count=2)
    assert not (tmp_path / "out").exists()
