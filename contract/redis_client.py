"""Redis clients for commands: quick to give up, and never repeated behind our back."""

from __future__ import annotations

from redis import AuthenticationError, Redis, ResponseError
from redis.backoff import NoBackoff
from redis.exceptions import AuthorizationError
from redis.retry import Retry

COMMAND_SECONDS = 3.0


def command_client(url: str, decode: bool = True) -> Redis:
    """A client whose commands fail after 3 s; redis-py's default would send some of them twice."""
    return Redis.from_url(
        url,
        decode_responses=decode,
        socket_timeout=COMMAND_SECONDS,
        socket_connect_timeout=COMMAND_SECONDS,
        retry=Retry(NoBackoff(), 0),
        health_check_interval=30,
    )


def refusal(error: Exception) -> str:
    """What a Redis that answers has against us, in its own words; empty if it does not answer."""
    is_answer = isinstance(error, (AuthenticationError, AuthorizationError, ResponseError))
    return str(error) if is_answer else ""
