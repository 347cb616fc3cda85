"""Input that is made to do harm, and files cut short: refused in a sentence, with bounded memory."""

from __future__ import annotations

import io
import json
import struct
import zipfile
import zlib
from pathlib import Path

import httpx
import pytest

from contract.jobs import JobStore
from tests.acceptance.processes import Processes, resident, until
from tests.conftest import png, zip_of
from tests.faults.stack import Valkey
from worker.png import SIGNATURE, chunk

pytestmark = [pytest.mark.faults, pytest.mark.timeout(240)]

BOUND = 200 * 2**20  # bytes that the API may grow by


def bomb(side: int = 12_000) -> bytes:
    """A true PNG of 432 MB of pixels in less than a megabyte."""
    deflate, row = zlib.compressobj(9), b"\0" * (3 * side + 1)
    data = b"".join(deflate.compress(row * 100) for _ in range(side // 100)) + deflate.flush()
    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return SIGNATURE + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def lying() -> bytes:
    """A zip whose member is 200 MB, and says that it is 1 KB."""
    data = bytearray(zip_of({"a.png": b"\0" * 200 * 2**20}))
    for signature, offset in ((b"PK\3\4", 22), (b"PK\1\2", 24)):
        at = data.index(signature) + offset
        data[at : at + 4] = struct.pack("<I", 1024)
    return bytes(data)


def named(name: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(zipfile.ZipInfo(name), png())
    return buffer.getvalue()


HARM = {
    "a picture bomb": (lambda: zip_of({"bomb.png": bomb()}), "pixels"),
    "a zip bomb": (lambda: zip_of({"a.png": b"\0" * 200 * 2**20}), "over"),
    "a zip that lies": (lying, "damaged"),
    "a path that leaves": (lambda: named("../../evil.png"), "points outside"),
    "an absolute path": (lambda: named("/tmp/evil.png"), "points outside"),
    "half a zip": (lambda: zip_of({"a.png": png()})[:-30], "not a readable zip"),
}


def upload(http: httpx.Client, name: str, data: bytes) -> httpx.Response:
    return http.post("/datasets", data={"name": name}, files={"file": ("x.zip", data)})


def test_uploads_that_would_do_harm_are_refused(stack: Processes, folder: Path) -> None:
    """Bombs, paths that leave the archive, a lie about sizes: 422 with the reason; the API stays small.

    Beside them a good picture is kept, and nothing of the others is left on the disk.
    """
    most = before = resident(stack.api.pid)
    with stack.http() as http:
        for what, (make, reason) in HARM.items():
            answer = upload(http, "harm", make())
            assert answer.status_code == 422, what
            assert reason in answer.json()["detail"], (what, answer.json()["detail"])
            most = max(most, resident(stack.api.pid))
        mixed = upload(http, "mixed", zip_of({"bomb.png": bomb(), "good.png": png()}))
        assert (mixed.status_code, mixed.json()["pictures"], mixed.json()["skipped"]) == (201, 1, 1)
    assert max(most, resident(stack.api.pid)) - before < BOUND
    assert sorted(path.name for path in (folder / "datasets").iterdir()) == ["colours", "mixed"]
    assert not any(folder.parent.rglob("evil.png"))


def test_a_truncated_checkpoint_is_passed_over(stack: Processes, valkey: Valkey, folder: Path) -> None:
    """A worker is stopped and the newest checkpoint cut in half: the next one goes on from the one before."""
    store = JobStore(valkey.redis)
    stack.running[2].terminate()
    stack.running[2].wait(30)
    stack.env["VITGAN_TICK_KIMG"] = "0.1"
    first = stack.start("trainer")
    with stack.http() as http:
        body = {"dataset": "colours", "preset": "vitgan-ti-32", "name": "cut", "kimg": 1000}
        job_id = http.post("/train", json=body).json()["id"]
    run = folder / "runs" / job_id
    until(lambda: len(list(run.glob("*/checkpoint-*.pt"))) >= 2, 60)
    first.terminate()
    first.wait(30)
    checkpoints = sorted((run / "000001").glob("checkpoint-*.pt"))
    size = checkpoints[-1].stat().st_size
    with checkpoints[-1].open("r+b") as file:
        file.truncate(size // 2)
    stack.start("trainer")
    before, seen = (int(path.stem.split("-")[1]) / 1000 for path in checkpoints[-2:])
    until(lambda: (store.get(job_id).progress or {}).get("kimg", 0) > seen + 0.1, 90)
    assert (store.get(job_id).attempts, store.get(job_id).losses) == (2, 0)
    logged = [(run / fence / "log.jsonl").read_text().splitlines() for fence in ("000001", "000002")]
    resumed = next(json.loads(line)["kimg"] for line in logged[1] if line not in logged[0])
    assert before < resumed <= seen  # neither from the cut one nor from the beginning
    store.request_cancel(job_id)
    until(lambda: store.get(job_id).status == "cancelled", 20)
