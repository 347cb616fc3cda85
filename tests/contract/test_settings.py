"""The password of Redis reaches the URLs, from the environment or from a file."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr
from redis import Redis

from contract.redis_client import command_client
from contract.redis_urls import with_password, without_password
from contract.settings import SharedSettings


@pytest.mark.parametrize(
    ("url", "woven"),
    [
        ("redis://redis:6379/0", "redis://:p%40ss%2F1@redis:6379/0"),
        ("rediss://me@redis:6379/1", "rediss://me:p%40ss%2F1@redis:6379/1"),
        ("redis://[::1]:6379/0?protocol=3", "redis://:p%40ss%2F1@[::1]:6379/0?protocol=3"),
        ("redis://:own@redis:6379/0", "redis://:own@redis:6379/0"),
        ("unix:///run/redis.sock?db=2", "unix://:p%40ss%2F1@/run/redis.sock?db=2"),
    ],
)
def test_the_password_is_woven_into_a_url_that_has_none(url: str, woven: str) -> None:
    assert with_password(url, SecretStr("p@ss/1")) == woven
    assert "p%40ss" not in without_password(woven)


def test_a_file_gives_the_password_to_both_urls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "vitgan_redis_password").write_text("of a file\n")
    monkeypatch.setenv("VITGAN_SECRETS_DIR", f"{tmp_path / 'absent'}:{tmp_path}")
    monkeypatch.setenv("REDIS_URL", "redis://jobs:6379/0")
    monkeypatch.setenv("VITGAN_BYTES_REDIS_URL", "redis://bytes:6379/0")
    settings = SharedSettings()
    assert settings.redis_url == "redis://:of%20a%20file@jobs:6379/0"
    assert settings.bytes_url == "redis://:of%20a%20file@bytes:6379/0"
    monkeypatch.setenv("VITGAN_REDIS_PASSWORD", "of the environment")
    assert SharedSettings().redis_url == "redis://:of%20the%20environment@jobs:6379/0"


def test_redis_takes_the_woven_password(redis: Redis, valkey_url: str) -> None:
    redis.acl_setuser("somebody", enabled=True, passwords=["+p@ss/1 %"], commands=["+ping"])
    try:
        url = valkey_url.replace("redis://", "redis://somebody@")
        with command_client(with_password(url, SecretStr("p@ss/1 %"))) as client:
            assert client.ping()
    finally:
        redis.acl_deluser("somebody")
