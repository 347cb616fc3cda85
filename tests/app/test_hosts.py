"""Under which names the service answers: a page must not get in by a name that its owner lets lead here."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from pydantic import ValidationError

from app.listening import allowed_hosts
from app.main import create_app
from app.settings import AppSettings
from tests.app.test_generate import refused


@pytest.mark.parametrize(
    ("settings", "listens", "refuses"),
    [
        ({}, "127.0.0.1", {"evil.test", "evil.test:8000", "127.0.0.1.evil.test", "localhost.evil.test"}),
        ({}, "::1", {"evil.test", "evil.test:8000", "127.0.0.1.evil.test", "localhost.evil.test"}),
        ({"allowed_hosts": "evil.test"}, "127.0.0.1", {"127.0.0.1.evil.test", "localhost.evil.test"}),
        ({"allowed_hosts": "a.test,EVIL.test"}, "0.0.0.0", {"127.0.0.1.evil.test", "localhost.evil.test"}),
        ({"allowed_hosts": "*"}, "127.0.0.1", set()),
        ({}, "0.0.0.0", set()),  # where VITGAN_ALLOW_ANONYMOUS or keys are needed
    ],
)
async def test_a_name_that_leads_here_is_not_enough(
    settings: dict[str, str], listens: str, refuses: set[str], valkey_url: str, tmp_path: Path
) -> None:
    asked = {
        "localhost", "localhost:8000", "LOCALHOST.", "app.localhost",
        "127.0.0.1:8000", "192.168.1.5", "[::1]:8000",
        "evil.test", "evil.test:8000", "127.0.0.1.evil.test", "localhost.evil.test",
    }  # fmt: skip
    app = create_app(AppSettings(redis_url=valkey_url, data_dir=tmp_path, **settings), listens)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
        answers = {host: await http.get("/healthz", headers={"Host": host}) for host in asked}
    assert {host for host, answer in answers.items() if answer.status_code == 403} == refuses
    for host in refuses:
        refused(answers[host], 403, "VITGAN_ALLOWED_HOSTS")


def test_with_keys_a_name_does_no_harm(tmp_path: Path) -> None:
    assert allowed_hosts("127.0.0.1", AppSettings(api_keys_file=tmp_path / "keys.json")) is None


def test_allowed_hosts_are_names(monkeypatch: pytest.MonkeyPatch) -> None:
    for wrong in ("http://a.test", "a.test:80", "a..test", "a b"):
        monkeypatch.setenv("VITGAN_ALLOWED_HOSTS", wrong)
        with pytest.raises(ValidationError, match="is no name"):
            AppSettings()
