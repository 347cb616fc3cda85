"""A wrong setting is a sentence: its variable, its value, and what may be given."""

from __future__ import annotations

import pytest

from app.settings import AppSettings
from contract.reading import allowed, read_settings
from contract.settings import SharedSettings
from worker.settings import WorkerSettings


@pytest.mark.parametrize(
    ("kind", "variable", "value", "sentence"),
    [
        (AppSettings, "VITGAN_MAX_SIDE", "wide", "is 'wide': give a whole number from 1 to 65536 (pixels of"),
        (AppSettings, "VITGAN_MAX_SIDE", "0", "is '0': give a whole number from 1 to 65536"),
        (AppSettings, "VITGAN_HEADER_SECONDS", "-1", "is '-1': give a number over 0"),
        (AppSettings, "VITGAN_ALLOW_ANONYMOUS", "perhaps", "is 'perhaps': give true or false"),
        (AppSettings, "VITGAN_CORS_ORIGINS", "a.org", "'a.org' is no origin"),
        (WorkerSettings, "VITGAN_DEVICE", "tpu", "is 'tpu': give cpu or cuda (what trainings run on"),
        (WorkerSettings, "VITGAN_SLOTS", " ", "is ' ': give a whole number of 1 or more"),
        (SharedSettings, "VITGAN_REDIS_URL", "localhost:6379", "is 'localhost:6379': give redis://HOST:6379"),
        (SharedSettings, "REDIS_URL", "http://redis", "VITGAN_REDIS_URL is 'http://redis': give redis://"),
    ],
)
def test_a_wrong_setting_is_a_sentence(
    kind: type[SharedSettings], variable: str, value: str, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ValueError, match="VITGAN_") as refused:
        read_settings(kind)
    assert variable in str(refused.value)
    assert sentence in str(refused.value)
    assert "\n" not in str(refused.value)


def test_all_that_are_wrong_are_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VITGAN_MAX_BATCH", "0")
    monkeypatch.setenv("VITGAN_MAX_FRAMES", "1")
    with pytest.raises(ValueError, match=r"VITGAN_MAX_FRAMES .*; VITGAN_MAX_BATCH"):
        read_settings(AppSettings)


def test_a_secrets_value_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VITGAN_WEBHOOK_SECRET", "whsec_!hidden!")
    with pytest.raises(ValueError, match="VITGAN_WEBHOOK_SECRET: what follows whsec_ must be") as refused:
        read_settings(AppSettings)
    assert "hidden" not in str(refused.value)


def test_every_setting_says_what_may_be_given() -> None:
    fields = AppSettings.model_fields | WorkerSettings.model_fields
    lists = {name for name, field in fields.items() if allowed(field) == "a list, with commas"}
    assert lists == {"allowed_hosts", "cors_origins"}  # what a type that is not known reads as
    assert all(field.description for field in fields.values())
