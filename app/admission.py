"""Admission: how many images and pixels may be under way in the whole service, and of one client.

Each API process tells all it has under way, and what it wants to add, in one call; the script sums over all
processes and decides, so the bounds hold exactly however many there are. A process tells totals and no
changes: whatever a time-out left unknown is set right by the next call, and what a process that died had
under way is forgotten with it.

The bounds on pixels concern large images alone, and one image counts as ``max_client_pixels`` at most, less
what of it the client has taken: so one image of any size is always let in, and leaves room for others.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import math
import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from redis.asyncio import Redis
from redis.exceptions import RedisError

from app.errors import QuotaUsed, ServiceError, Unavailable, of_redis
from app.orders import ALONE_PIXELS
from contract import keys
from contract.jobs import ANONYMOUS

log = logging.getLogger(__name__)

TELL_SECONDS = 1.0  # how often a process tells its totals when nothing else makes it
FORGET_SECONDS = 30.0  # a process that has told nothing for so long counts no more
RATE_SECONDS = 10.0  # over which the rate is measured at which images are finished
LONGEST_RETRY = 120

# KEYS: gates. ARGV: own id, own totals (JSON), asks (JSON list of [client, its bounds of images and of
# pixels, images, pixels]), bound of images, of pixels, seconds, pixels of an image that no bound on pixels
# concerns.
ADMIT = """
local t = redis.call('TIME'); local now = t[1] + t[2] / 1000000
local own = cjson.decode(ARGV[2])
local images, pixels, rate, pixel_rate = own.images, own.pixels, own.rate, own.pixel_rate
local images_of, pixels_of = {}, {}
local function add(to, client, n) to[client] = (to[client] or 0) + n end
local function count(one)
  for client, n in pairs(one.clients) do add(images_of, client, n) end
  for client, p in pairs(one.client_pixels or {}) do add(pixels_of, client, p) end -- an older API tells none
end
count(own)
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  if all[i] ~= ARGV[1] then
    local other = cjson.decode(all[i + 1])
    if other.at + ARGV[6] < now then
      redis.call('HDEL', KEYS[1], all[i])
    else
      images, pixels = images + other.images, pixels + other.pixels
      rate, pixel_rate = rate + other.rate, pixel_rate + other.pixel_rate
      count(other)
    end
  end
end
local verdicts = {}
for i, ask in ipairs(cjson.decode(ARGV[3])) do
  local client, most, most_pixels, n, p = unpack(ask)
  local used, large = pixels_of[client] or 0, p > n * ARGV[7]
  if most >= 0 and (images_of[client] or 0) + n > most then
    verdicts[i] = 'quota'
  elseif large and most_pixels >= 0 and used > 0 and used + p > most_pixels then
    verdicts[i] = 'pixel quota'
  elseif images + n > tonumber(ARGV[4]) then
    verdicts[i] = 'images'
  elseif large and pixels > 0 and pixels + p > tonumber(ARGV[5]) then
    verdicts[i] = 'pixels'
  else
    verdicts[i] = 'ok'
    images, pixels = images + n, pixels + p
    add(images_of, client, n)
    add(pixels_of, client, p)
    own.images, own.pixels = own.images + n, own.pixels + p
    add(own.clients, client, n)
    add(own.client_pixels, client, p)
  end
end
own.at = now
redis.call('HSET', KEYS[1], ARGV[1], cjson.encode(own))
redis.call('EXPIRE', KEYS[1], math.ceil(2 * ARGV[6]))
return {verdicts, string.format('%.0f', images), string.format('%.0f', pixels), tostring(rate),
        tostring(pixel_rate)}
"""


@dataclass(frozen=True)
class Load:
    """What is under way in the whole service."""

    images: int = 0
    pixels: int = 0
    rate: float = 0.0  # images finished a second
    pixel_rate: float = 0.0


@dataclass(eq=False)
class Place:
    """Room for some images of one client; given back by ``leave``, or when nobody holds it any more."""

    gate: Gate
    client: str
    images: int
    pixels: int  # that count, of those that the client has not taken
    held: bool = True

    def __post_init__(self) -> None:
        self._all = self.pixels

    def advance(self, share: float) -> None:
        """The client has taken that share of its image."""
        left = round(self._all * (1 - share))
        if self.held and left < self.pixels:
            self.gate.taken(self, self.pixels - left)

    def leave(self) -> None:
        """The images are there, or nobody waits for them; more than once does no harm."""
        if self.held:
            self.held = False
            self.gate.left(self)

    def __del__(self) -> None:
        self.leave()  # an answer that was never begun ends nowhere else


@dataclass(eq=False)
class _Ask:
    client: str
    bound: int  # -1: none of its own
    pixel_bound: int
    images: int
    pixels: int
    answer: asyncio.Future[Place]


class Gate:
    """The door of this process: one call at a time, with all that has come meanwhile."""

    def __init__(
        self, redis: Redis, process_id: str, max_images: int, max_pixels: int, max_client_pixels: int
    ) -> None:
        self.id, self.max_images, self.max_pixels = process_id, max_images, max_pixels
        self.max_client_pixels = max_client_pixels
        self.redis, self._admit = redis, redis.register_script(ADMIT)
        self.load = Load()
        self.images = self.pixels = 0
        self.clients: Counter[str] = Counter()  # images
        self.client_pixels: Counter[str] = Counter()
        self._asks: list[_Ask] = []
        self._finished: deque[tuple[float, int, int]] = deque()  # when, images, pixels
        self._wake = asyncio.Event()

    async def enter(self, client: str, bound: int | None, images: int, pixels: int) -> Place:
        """A place for so many images; raises ``QuotaUsed`` or ``Unavailable``, with when to try again."""
        counted = min(pixels, self.max_client_pixels)
        # Without keys all who call are one client, whom its own pixels must not keep out.
        pixel_bound = -1 if client == ANONYMOUS else self.max_client_pixels
        ask = _Ask(client, -1 if bound is None else bound, pixel_bound, images, counted, asyncio.Future())
        self._asks.append(ask)
        self._wake.set()
        return await ask.answer

    def left(self, place: Place) -> None:
        """A place was given back."""
        self._count(place, -place.images, -place.pixels)
        self._finished.append((time.monotonic(), place.images, place.pixels))

    def taken(self, place: Place, pixels: int) -> None:
        """So many pixels of a place that goes on to be held are with the client."""
        self._count(place, 0, -pixels)
        place.pixels -= pixels
        self._finished.append((time.monotonic(), 0, pixels))

    async def keep_forever(self) -> None:
        """The one task that talks to Redis."""
        while True:
            asks, self._asks = [ask for ask in self._asks if not ask.answer.done()], []
            self._wake.clear()
            try:
                await self._tell(asks)
            except (RedisError, OSError) as error:
                log.warning("admission waits for Redis: %s", error)
                for ask in asks:
                    _answer(ask, of_redis(error))
            except asyncio.CancelledError:
                for ask in asks:
                    ask.answer.cancel()
                raise
            try:
                await asyncio.wait_for(self._wake.wait(), TELL_SECONDS)
            except TimeoutError:
                continue

    async def close(self) -> None:
        """This process has nothing under way any more."""
        with contextlib.suppress(RedisError, OSError):  # it will be forgotten
            await self.redis.hdel(keys.GATES, self.id)

    async def _tell(self, asks: Sequence[_Ask]) -> None:
        rate, pixel_rate = self._rates()
        totals = {
            "images": self.images, "pixels": self.pixels, "clients": dict(self.clients),
            "client_pixels": dict(self.client_pixels), "rate": rate, "pixel_rate": pixel_rate,
        }  # fmt: skip
        wanted = [[ask.client, ask.bound, ask.pixel_bound, ask.images, ask.pixels] for ask in asks]
        verdicts, images, pixels, rate_all, pixel_rate_all = cast(
            "tuple[list[bytes], bytes, bytes, bytes, bytes]",
            await self._admit(
                keys=[keys.GATES],
                args=[
                    self.id, json.dumps(totals), json.dumps(wanted), self.max_images, self.max_pixels,
                    FORGET_SECONDS, ALONE_PIXELS,
                ],
            ),
        )  # fmt: skip
        self.load = Load(int(images), int(pixels), float(rate_all), float(pixel_rate_all))
        for ask, verdict in zip(asks, verdicts, strict=True):
            _answer(ask, self._place(ask) if verdict == b"ok" else self._refusal(ask, verdict.decode()))

    def _place(self, ask: _Ask) -> Place:
        place = Place(self, ask.client, ask.images, ask.pixels)
        self._count(place, place.images, place.pixels)
        return place

    def _count(self, place: Place, images: int, pixels: int) -> None:
        self.images += images
        self.pixels += pixels
        for counts, change in ((self.clients, images), (self.client_pixels, pixels)):
            counts[place.client] += change
            if not counts[place.client]:
                del counts[place.client]

    def _rates(self) -> tuple[float, float]:
        """Images and pixels that left this process a second, lately."""
        since = time.monotonic() - RATE_SECONDS
        while self._finished and self._finished[0][0] < since:
            self._finished.popleft()
        images, pixels = (sum(entry[part] for entry in self._finished) for part in (1, 2))
        return images / RATE_SECONDS, pixels / RATE_SECONDS

    def _refusal(self, ask: _Ask, verdict: str) -> ServiceError:
        """Why not, and when there will be room if all goes on as it does."""
        load = self.load
        others = max(1, len(self.clients))
        if verdict == "quota":
            return QuotaUsed(
                f"this key may have {ask.bound} images under way, and {ask.images} more would be too many: "
                "wait for some of them",
                retry_after=seconds_until(ask.images, load.rate / others),
                reason="quota_images",
            )
        if verdict == "pixel quota":
            return QuotaUsed(
                f"this key may have {self.max_client_pixels} pixels of large images under way, and "
                f"{ask.pixels} more would be too many: wait for some of them, or ask for images of up to "
                f"{ALONE_PIXELS} pixels",
                retry_after=seconds_until(ask.pixels, load.pixel_rate / others),
                reason="quota_pixels",
            )
        if verdict == "images":
            return Unavailable(
                f"{load.images} images are waiting already, of {self.max_images}: try again later",
                retry_after=seconds_until(load.images + ask.images - self.max_images, load.rate),
                reason="images_waiting",
            )
        return Unavailable(
            f"{load.pixels} pixels are waiting already, of {self.max_pixels}: "
            f"try again later, or ask for images of up to {ALONE_PIXELS} pixels",
            retry_after=seconds_until(load.pixels + ask.pixels - self.max_pixels, load.pixel_rate),
            reason="pixels_waiting",
        )


def seconds_until(too_many: int, rate: float) -> int:
    """Whole seconds until so many are finished; 2 while no rate is known."""
    if rate <= 0:
        return 2
    return min(max(1, math.ceil(too_many / rate)), LONGEST_RETRY)


def _answer(ask: _Ask, answer: Any) -> None:
    """To whoever still waits; a place that nobody takes is given back when it is dropped here."""
    if ask.answer.done():
        return
    if isinstance(answer, Exception):
        ask.answer.set_exception(answer)
    else:
        ask.answer.set_result(answer)
