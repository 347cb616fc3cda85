"""Uploads to a real API: what they take of its memory."""

from __future__ import annotations

import io
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
from PIL import Image
from redis import Redis

from app.key_file import editing, new_key
from tests.acceptance.processes import Processes, service_of
from tests.conftest import zip_of

MOST = 450 * 2**20  # one picture of 250 MB, and room for all else; six would be 1,500


def peak(processes: Processes) -> int:
    """Bytes of the API in memory, at most so far."""
    status = Path(f"/proc/{processes.api.pid}/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def test_large_pictures_of_many_clients_take_the_memory_of_one(
    tmp_path: Path, redis: Redis, valkey_url: str
) -> None:
    """Each client's upload has under 300 KB and a picture of 62 megapixels."""
    buffer = io.BytesIO()
    Image.new("RGB", (7900, 7900)).save(buffer, "PNG")
    data = zip_of({"large.png": buffer.getvalue()})
    made = [new_key(f"client{number}", ["train"]) for number in range(6)]
    with editing(tmp_path / "keys.json") as kept:
        kept += [one for _, one in made]
    env = {"VITGAN_API_KEYS_FILE": str(tmp_path / "keys.json")}
    with service_of(0, tmp_path / "var", redis, valkey_url, **env) as processes:

        def send(number: int) -> httpx.Response:
            with processes.http() as http:
                return http.post(
                    "/datasets", data={"name": f"d{number}"}, files={"file": ("x.zip", data)},
                    headers={"X-API-Key": made[number][0]},
                )  # fmt: skip

        before = peak(processes)
        with ThreadPoolExecutor(6) as clients:
            answers = list(clients.map(send, range(6)))
        assert [answer.status_code for answer in answers] == [201] * 6, json.dumps(answers[0].json())
        assert peak(processes) - before < MOST
