"""Where webhooks may lead: never into private networks, and to the address that was looked at."""

from __future__ import annotations

import errno
import logging
import shutil
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from app import addresses
from tests.app.conftest import Start
from tests.app.receiver import SECRET, Receiver, ended, given_up, listening, soon
from tests.conftest import free_port


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with listening(Receiver()) as receiver:
        yield receiver


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "10.1.2.3",
        "169.254.169.254",
        "[::1]",
        "localhost",
        "[::ffff:127.0.0.1]",
        "0.0.0.0",
        "127.1",
    ],
)
async def test_what_is_private_is_refused(start: Start, receiver: Receiver, host: str) -> None:
    api = await start(webhook_secret=SECRET, webhook_attempts=1)
    reason = await given_up(api, ended(api.services.jobs, receiver.url(host)))
    assert "an address that is not public" in reason
    assert all(address not in reason.replace(host.strip("[]"), "") for address in ("127.0.0.1", "::1"))
    assert receiver.connections == 0


async def test_a_host_with_a_private_address_among_others_is_refused(
    start: Start, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    found = [ip_address("93.184.215.14"), ip_address("127.0.0.1")]
    monkeypatch.setattr(addresses, "look_up", lambda *_: found)
    api = await start(webhook_secret=SECRET, webhook_attempts=1)
    reason = await given_up(api, ended(api.services.jobs, receiver.url("two.example")))
    assert "two.example has an address that is not public" in reason
    assert "127.0.0.1" not in reason
    assert "127.0.0.1" in caplog.text  # for whoever runs the service
    assert receiver.connections == 0


async def test_the_connection_goes_to_the_address_that_was_looked_at(
    start: Start, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that the system cannot find: nobody looks a second time."""
    looks: list[str] = []

    def look(host: str, _: int) -> list[Any]:
        looks.append(host)
        return [ip_address("127.0.0.2"), ip_address("127.0.0.1")]  # nobody listens at the first

    monkeypatch.setattr(addresses, "look_up", look)
    api = await start(webhook_secret=SECRET, webhook_allow_private=True)
    ended(api.services.jobs, receiver.url("nowhere.invalid"))
    await soon(lambda: len(receiver.posts) == 1)
    assert looks == ["nowhere.invalid"]
    assert receiver.posts[0].headers["host"] == f"nowhere.invalid:{receiver.port}"


async def test_a_reason_has_no_address(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addresses, "look_up", lambda *_: [ip_address("127.0.0.2")])
    api = await start(webhook_secret=SECRET, webhook_allow_private=True, webhook_attempts=1)
    reason = await given_up(api, ended(api.services.jobs, f"http://inside.example:{free_port()}/"))
    assert reason.startswith("the host takes no connection")


def has_ipv6() -> bool:
    with socket.socket(socket.AF_INET6) as probe:
        return probe.connect_ex(("::1", 9)) in (0, errno.ECONNREFUSED)


@pytest.mark.skipif(not has_ipv6(), reason="no IPv6 here")
async def test_ipv6_is_spoken(start: Start) -> None:
    api = await start(webhook_secret=SECRET, webhook_allow_private=True)
    async with listening(Receiver(), "::1") as receiver:
        ended(api.services.jobs, receiver.url("[::1]"))
        await soon(lambda: len(receiver.posts) == 1)
    assert receiver.posts[0].headers["host"] == f"[::1]:{receiver.port}"


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl here to make a certificate with")
@pytest.mark.parametrize(("name", "trusted"), [("hooks.example", True), ("other.example", False)])
async def test_https_asks_for_the_names_certificate(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, trusted: bool
) -> None:
    pair = ["-keyout", str(tmp_path / "key.pem"), "-out", str(tmp_path / "cert.pem")]
    words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=hooks.example"
    subprocess.run(
        ["openssl", *words.split(), "-addext", "subjectAltName=DNS:hooks.example", *pair],
        check=True, capture_output=True,
    )  # fmt: skip
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))
    monkeypatch.setattr(addresses, "look_up", lambda *_: [ip_address("127.0.0.1")])
    tls, asked = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), []
    tls.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    tls.sni_callback = lambda _, server_name, __: asked.append(server_name)
    api = await start(webhook_secret=SECRET, webhook_allow_private=True, webhook_attempts=1)
    async with listening(Receiver(), ssl=tls) as receiver:
        job_id = ended(api.services.jobs, receiver.url(name).replace("http", "https", 1))
        if trusted:
            await soon(lambda: len(receiver.posts) == 1)
        else:
            assert "CERTIFICATE_VERIFY_FAILED" in await given_up(api, job_id)
            assert receiver.posts == []
    assert asked == [name]
