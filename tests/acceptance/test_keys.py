"""The whole service with API keys on: the command line makes one, the API takes it, so does the page."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from PIL import Image
from playwright.sync_api import Browser, Route, expect

from tests.acceptance.conftest import Service
from tests.acceptance.processes import until
from tests.conftest import free_port

pytestmark = pytest.mark.acceptance

# As `vitgan api` does, but saying all that uvicorn can say.
TALKATIVE = """
import sys, uvicorn
from app.main import create_app
from app.server import protocol
from app.settings import AppSettings
settings = AppSettings()
uvicorn.run(create_app(settings), port=int(sys.argv[1]), http=protocol(settings), log_level="trace")
"""


@dataclass
class Locked:
    """A service that asks for keys, and a key of each kind."""

    service: Service
    file: Path
    drawing: str
    training: str

    def ask(self, key: str | None, method: str, path: str, **more: object) -> httpx.Response:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        with self.service.http() as http:
            return http.request(method, path, headers=headers, **more)  # type: ignore[arg-type]


def keys(file: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "cli", "keys", *arguments, "--file", str(file)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Locked]:
    folder = tmp_path_factory.mktemp("locked")
    file = folder / "keys.json"
    made = [keys(file, "create", "--name", "test", "--scope", scope) for scope in ("generate", "train")]
    service = Service.start(folder, VITGAN_API_KEYS_FILE=str(file))
    yield Locked(service, file, *made)
    service.stop()


def test_up_says_how_to_make_a_key_and_draws_nothing(locked: Locked) -> None:
    assert f"vitgan keys create --name me --scope generate --file {locked.file}" in locked.service.said
    assert not (locked.service.folder / "first.png").exists()


def test_a_key_draws_and_another_does_not(locked: Locked) -> None:
    body = {"seed": 1, "resolution": 48}
    answer = locked.ask(locked.drawing, "POST", "/generate", json=body)
    assert answer.status_code == 200, answer.text
    assert Image.open(io.BytesIO(answer.content)).size == (48, 48)
    assert locked.ask(None, "POST", "/generate", json=body).status_code == 401
    assert locked.ask(locked.training, "POST", "/generate", json=body).status_code == 403
    assert locked.ask(locked.training, "GET", "/datasets").status_code == 200
    assert locked.ask(None, "GET", "/readyz").status_code == 200


def test_keys_come_and_go_without_a_restart(locked: Locked) -> None:
    key = keys(locked.file, "create", "--name", "guest", "--scope", "generate")
    assert locked.ask(key, "GET", "/models").status_code == 200
    keys(locked.file, "revoke", key[3:11])
    assert locked.ask(key, "GET", "/models").status_code == 401
    assert locked.ask(locked.drawing, "GET", "/models").status_code == 200


def test_the_page_asks_for_a_key_and_keeps_it_in_its_tab(locked: Locked, browser: Browser) -> None:
    page = browser.new_page()
    errors: list[str] = []
    page.on("console", lambda said: errors.append(said.text) if "Content Security" in said.text else None)
    page.goto(f"http://127.0.0.1:{locked.service.port}/")
    expect(page.locator("#access")).to_be_visible()
    expect(page.locator("#message")).to_contain_text("API key is needed")
    page.locator("#key").fill("vg_00000000_" + "x" * 43)
    page.locator("#access button").click()
    expect(page.locator("#message")).to_contain_text("not known")
    page.locator("#key").fill(f" {locked.drawing} ")
    page.locator("#key").press("Enter")
    expect(page.locator("#access")).to_be_hidden()
    expect(page.locator("#grid .tile img")).to_have_count(16, timeout=60_000)
    expect(page.locator("#model option")).not_to_have_count(1)
    page.reload()
    expect(page.locator("#grid .tile img")).to_have_count(16, timeout=60_000)
    page.locator("#grid .tile").first.click()
    expect(page.locator("#viewer-curl")).to_contain_text("Bearer $VITGAN_KEY")
    assert locked.drawing[12:] not in page.content() + page.url
    assert errors == []
    other = browser.new_page()
    other.goto(f"http://127.0.0.1:{locked.service.port}/")
    expect(other.locator("#access")).to_be_visible()


def test_a_late_refusal_of_the_key_before_does_not_ask_again(locked: Locked, browser: Browser) -> None:
    page = browser.new_page()
    wrong, held = "vg_00000000_" + "x" * 43, []

    def hold_one(route: Route) -> None:
        sent = route.request.headers.get("authorization")
        if not held and route.request.url.endswith("/models") and sent == f"Bearer {wrong}":
            held.append(route)
        else:
            route.continue_()

    page.route("**/*", hold_one)
    page.goto(f"http://127.0.0.1:{locked.service.port}/")
    page.locator("#key").fill(wrong)
    page.locator("#key").press("Enter")
    expect(page.locator("#message")).to_contain_text("not known")
    page.locator("#key").fill(locked.drawing)
    page.locator("#key").press("Enter")
    expect(page.locator("#grid .tile img")).to_have_count(16, timeout=60_000)
    (late,) = held
    with page.expect_response(lambda answer: answer.status == 401):
        late.continue_()
    page.wait_for_timeout(300)  # for what the page makes of it
    expect(page.locator("#access")).to_be_hidden()


def test_the_key_is_in_no_log(locked: Locked) -> None:
    logs = "".join(path.read_text() for path in (locked.service.folder / "var" / "logs").iterdir())
    assert locked.drawing[12:] not in logs + locked.service.said


def test_the_key_is_in_no_log_of_a_server_that_logs_all(locked: Locked, tmp_path: Path) -> None:
    port, log = free_port(), tmp_path / "log"
    env = os.environ | {"VITGAN_API_KEYS_FILE": str(locked.file), "VITGAN_DATA_DIR": str(tmp_path)}
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-c", TALKATIVE, str(port)], env=env, stdout=file, stderr=subprocess.STDOUT
        )
    try:
        until(lambda: "Uvicorn running" in log.read_text(), 30)
        with httpx.Client(base_url=f"http://127.0.0.1:{port}") as http:
            for headers in ({"X-API-Key": locked.drawing}, {"Authorization": f"Bearer {locked.drawing}"}):
                assert http.get("/models", headers=headers).status_code == 200
                assert http.get("/datasets", headers=headers).status_code == 403
                assert http.post("/generate", content=b"{", headers=headers).status_code == 415
            wrong = {"Authorization": f"Bearer {locked.drawing}x"}
            assert http.get("/models", headers=wrong).status_code == 401
        until(lambda: '"GET /models HTTP/1.1" 401' in log.read_text(), 10)
    finally:
        process.terminate()
        process.wait(20)
    assert locked.drawing[12:] not in log.read_text()
