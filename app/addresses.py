"""Where a URL that a client gave may lead: to public addresses only, and to the one that was checked."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from concurrent.futures import Executor

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# Their last 32 bits are an IPv4 address: RFC 6052 (translated), RFC 4291 (compatible, no longer used).
ENDING_IN_IPV4 = (ipaddress.ip_network("64:ff9b::/96"), ipaddress.ip_network("::/96"))
LOCAL_TRANSLATION = ipaddress.ip_network("64:ff9b:1::/48")  # RFC 8215: each network has its own


class AddressRefusedError(Exception):
    """Leads into a private network, to this machine, or to nobody in particular."""


async def addresses_of(
    host: str, port: int, executor: Executor, allow_private: bool = False
) -> list[Address]:
    """All addresses of a host, each of them public unless ``allow_private``.

    Raises ``OSError`` if there are none, ``AddressRefusedError`` if one of them is not public.
    """
    loop = asyncio.get_running_loop()
    addresses = await loop.run_in_executor(executor, look_up, host, port)
    for address in addresses:
        if not (allow_private or is_public(address)):
            raise AddressRefusedError(f"{host} is at {address}, which is no public address")
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
    return address.is_global and not address.is_multicast and address not in LOCAL_TRANSLATION


def embedded(address: Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that an IPv6 one leads to by translation or a tunnel."""
    if not isinstance(address, ipaddress.IPv6Address):
        return None
    if any(address in network for network in ENDING_IN_IPV4):
        return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address.sixtofour
