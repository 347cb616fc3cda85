"""URLs of a Redis: what may be given, how people are shown them, and how Celery wants them."""

from __future__ import annotations

import re
from urllib.parse import SplitResult, parse_qs, quote, urlencode, urlsplit, urlunsplit

from pydantic import SecretStr

SCHEMES = ("redis", "rediss", "unix")
OPTIONS = {"db", "protocol"}
TLS_OPTIONS = {"ssl_cert_reqs", "ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_check_hostname"}


def with_password(url: str, password: SecretStr | None) -> str:
    """The URL with that password unless it carries one; raises ``ValueError`` if it cannot be used."""
    parts = _checked(url)
    if password is not None and parts.password is None:
        user, _, host = parts.netloc.rpartition("@")
        place = f"{user}:{quote(password.get_secret_value(), safe='')}@{host}"
        parts = parts._replace(netloc=place)
    return _joined(parts)


def without_password(url: str) -> str:
    """The URL as people may be shown it."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def broker_url(url: str) -> str:
    """The URL as Celery wants it: other schemes and options; left alone it trusts any certificate."""
    parts = urlsplit(url)
    options = {name: values[0] for name, values in parse_qs(parts.query).items()}
    database = options.get("db") or parts.path.strip("/") or "0"
    if parts.scheme == "unix":
        query = urlencode({"virtual_host": options.get("db", "0")})
        return f"redis+socket://{parts.netloc}{parts.path}?{query}"
    if parts.scheme == "redis":
        return f"redis://{parts.netloc}/{database}"
    tls = {"ssl_cert_reqs": "required"} | {name: options[name] for name in options if name in TLS_OPTIONS}
    return f"rediss://{parts.netloc}/{database}?{urlencode(tls)}"


def _checked(url: str) -> SplitResult:
    parts = urlsplit(url)
    if parts.scheme not in SCHEMES:
        raise ValueError("give redis://HOST:6379/0, rediss:// for TLS, or unix:///PATH")
    try:
        _ = parts.port
    except ValueError:
        raise ValueError("the port is a whole number up to 65535") from None
    options = parse_qs(parts.query, keep_blank_values=True)
    allowed = OPTIONS | TLS_OPTIONS if parts.scheme == "rediss" else OPTIONS
    if unknown := sorted(options.keys() - allowed):
        raise ValueError(f"leave out {', '.join(unknown)}: known are {', '.join(sorted(allowed))}")
    if parts.scheme == "unix" and parts.path in ("", "/"):
        raise ValueError("give the path of the socket: unix:///run/redis.sock")
    databases = options.get("db", []) + ([] if parts.scheme == "unix" else [parts.path.strip("/") or "0"])
    if not all(re.fullmatch("[0-9]+", database) for database in databases):
        raise ValueError("a database is named by its number: redis://HOST:6379/0")
    return parts


def _joined(parts: SplitResult) -> str:
    """``urlunsplit``, which older Pythons let forget the slashes of a URL that names no host."""
    url = urlunsplit(parts)
    return url if "://" in url else url.replace(":", "://", 1)
