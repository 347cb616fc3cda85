"""Where the service may listen: what others can reach asks for keys, unless somebody says otherwise."""

from __future__ import annotations

import ipaddress

from app.settings import AppSettings


def check_host(host: str, settings: AppSettings) -> None:
    """Raises ``ValueError`` with a sentence if everybody who reaches that address could use the service."""
    if is_own(host) or settings.api_keys_file or settings.allow_anonymous:
        return
    raise ValueError(
        f"others can reach the service at {host or 'every address'}, and it asks for no API keys: make one "
        "with `vitgan keys create --name me --scope generate --file keys.json` and set "
        "VITGAN_API_KEYS_FILE=keys.json, or let everybody in with VITGAN_ALLOW_ANONYMOUS=true"
    )


def allowed_hosts(host: str, settings: AppSettings) -> tuple[str, ...] | None:
    """Under which names the service may be asked besides this machine's own; None: under all.

    On an address of this machine alone without keys, pages of other names must not get in by DNS rebinding.
    """
    if settings.allowed_hosts or (is_own(host) and not settings.api_keys_file):
        return settings.allowed_hosts
    return None


def is_own(host: str) -> bool:
    """Whether only this machine can reach that address; a name other than localhost may lead anywhere."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
