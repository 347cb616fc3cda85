"""Where a URL that a client gave may lead: to public addresses only, and to the one that was checked."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from concurrent.futures import Executor, Future

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

TRANSLATED = ipaddress.ip_network("64:ff9b::/96")  # RFC 6052: the last 32 bits are an IPv4 address
GLOBAL = ipaddress.ip_network("2000::/3")  # what IANA gives to the Internet: all else of IPv6 is not global
ISATAP = (0x0000_5EFE, 0x0200_5EFE)  # RFC 5214: such a half of an interface's id, then an IPv4 address

# Parts of the Internet's address space that lead to something near the sender, or nowhere (IANA's registries
# of special addresses). The ipaddress of this Python may count some of them as global.
SPECIAL = tuple(
    map(
        ipaddress.ip_network,
        (
            "192.0.0.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.175.48.0/24",
            "2001::/23", "2001:db8::/32", "2620:4f:8000::/48", "3fff::/20",
        ),
    )
)  # fmt: skip


class AddressRefusedError(Exception):
    """The host has an address that is not public. The text does not contain it.

    A client that may name hosts must not learn the addresses of our network.
    """

    def __init__(self, host: str, address: Address) -> None:
        super().__init__(f"{host} has an address that is not public")
        self.address = address  # for the log


def begin_look_up(host: str, port: int, executor: Executor) -> Future[list[Address]]:
    """Asks the system in a thread, which nothing can stop: a name may take half a minute."""
    return executor.submit(look_up, host, port)


async def addresses_of(
    host: str, lookup: Future[list[Address]], allow_private: bool = False
) -> list[Address]:
    """All addresses of a host, each of them public unless ``allow_private``.

    Raises ``OSError`` if there are none, ``AddressRefusedError`` if one of them is not public.
    """
    addresses = await asyncio.wrap_future(lookup)
    for address in addresses:
        if not (allow_private or is_public(address)):
            raise AddressRefusedError(host, address)
    return addresses


def look_up(host: str, port: int) -> list[Address]:
    """What the system says, each once; raises ``OSError`` if it says nothing."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(ipaddress.ip_address(where[0]) for *_, where in found))


def is_public(address: Address) -> bool:
    """Whether the whole Internet means one and the same machine by it."""
    inner = embedded(address)
    if inner is not None:
        return is_public(inner)
    if isinstance(address, ipaddress.IPv6Address) and (address not in GLOBAL or _is_isatap(address)):
        return False
    special = any(address in network for network in SPECIAL if network.version == address.version)
    return address.is_global and not address.is_multicast and not special


def embedded(address: Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that an IPv6 one leads to by translation or a tunnel."""
    if not isinstance(address, ipaddress.IPv6Address):
        return None
    if address in TRANSLATED:
        return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address.sixtofour


def _is_isatap(address: ipaddress.IPv6Address) -> bool:
    return int(address) >> 32 & 0xFFFF_FFFF in ISATAP
