from __future__ import annotations

import ipaddress

import pytest

from app.addresses import is_public

PUBLIC = [
    "8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1",
    "2001:200::1", "2001:4860:4860::8888", "2003::1", "2a00:1450::1", "3ffe::1",
]  # fmt: skip
OTHERS = [
    "127.0.0.1", "10.0.0.1", "172.16.0.1", "192.168.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0",
    "224.0.0.1", "255.255.255.255", "192.0.2.1", "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "ff0e::1",
    "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:224.0.0.1", "::127.0.0.1",  # IPv4 inside
    "::8.8.8.8", "::ffff:0:7f00:1", "::ffff:0:808:808", "2001:0:7f00:1::1", "2001:0:808:808::1",
    "2001:4860::5efe:7f00:1", "2001:4860::200:5efe:a00:1", "fe80::5efe:7f00:1",  # ISATAP
    "fec0::1", "3fff::1", "3fff:fff::1", "5f00::1", "100::1", "100:0:0:1::1", "4000::1", "2001:db8::1",
    "2001:2::1", "2001:20::1", "2001:1::1", "2620:4f:8000::1", "192.0.0.9", "192.0.0.170", "192.88.99.1",
    "192.31.196.1", "192.52.193.1", "192.175.48.1", "198.18.0.1", "240.0.0.1",
    "64:ff9b::c058:6301", "2002:c058:6301::1",  # special addresses inside
    "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::7f00:1", "2002:7f00:1::", "2002:a9fe:a9fe::1",
]  # fmt: skip


@pytest.mark.parametrize("address", PUBLIC)
def test_what_the_internet_knows_is_public(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", OTHERS)
def test_what_only_some_network_knows_is_not(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))
