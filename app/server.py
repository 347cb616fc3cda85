"""uvicorn, with limits on what a connection may hold up: heads that do not come, answers nobody takes."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import logging
import socket
import struct
import tempfile
import termios
from http import HTTPStatus

import uvicorn
from fastapi import FastAPI
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from app.browsers import SecurityHeaders
from app.errors import PROBLEM_JSON, REASONS
from app.metrics import REFUSALS
from app.settings import AppSettings

MAX_HEAD = 64 * 1024  # bytes of a request's line and headers, give or take one slice
SLICE = 4 * 1024  # bytes that are parsed at a time
BODY_CREDIT = 8  # bytes of chunks' lengths, extensions and trailers that each byte of a body may bring


def serve(app: FastAPI, settings: AppSettings, host: str, port: int) -> None:
    """Listens until a signal ends it."""
    logging.getLogger("uvicorn.error").addFilter(_in_a_line)
    tempfile.tempdir = str(settings.datasets_dir.absolute())  # /tmp may be memory, or small
    uvicorn.run(
        app,
        host=host,
        port=port,
        http=protocol(settings),
        ws="none",
        server_header=False,
        log_level="warning",
        log_config=None,  # its lines are logged as all others are
        timeout_graceful_shutdown=3,
    )


def _in_a_line(record: logging.LogRecord) -> bool:
    """An answer that the stopping service has cut off is told in a line: no traceback says more of it."""
    if record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError):
        record.msg, record.args, record.exc_info = "an answer was cut off: the service stops", (), None
        record.levelno, record.levelname = logging.WARNING, "WARNING"
    return True


def protocol(settings: AppSettings) -> type[HttpToolsProtocol]:
    """How a connection is spoken with, under those settings."""

    class Configured(PatientProtocol):
        header_seconds, stall_seconds = settings.header_seconds, settings.stall_seconds

    return Configured


class PatientProtocol(HttpToolsProtocol):
    """uvicorn's protocol, but its patience ends.

    A connection is closed if a request's head is not there ``header_seconds`` after the connection was opened
    or its first byte came, and broken if the client takes nothing of an answer for ``stall_seconds``. What
    uvicorn does then is what it does when a client leaves: the answer's generator is closed.

    The parser bounds nothing: it keeps a header or trailer of any length, and a request for each line that
    a client pipelines. So bytes that are not a body's are counted, and bytes behind a request that waits for
    its turn are left unparsed.
    """

    header_seconds: float
    stall_seconds: float

    _head_timer: asyncio.TimerHandle | None = None
    _stall_timer: asyncio.TimerHandle | None = None
    _answering: RequestResponseCycle | None = None  # the request that is, or was answered last
    _in_head = False
    _body_bytes = 0  # of the slice that is parsed
    _overhead = 0  # bytes of the head, or of the body's framing, less what the body has earned

    # ---- requests

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """The head must come from now on."""
        super().connection_made(transport)
        self._unparsed = bytearray()
        self._watch_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is waited for any more."""
        super().connection_lost(exc)
        self._unparsed.clear()
        if self._answering:  # uvicorn tells the request that came last, which may wait for its turn
            self._answering.disconnected = True
            self._answering.message_event.set()
        for timer in (self._head_timer, self._stall_timer):
            if timer:
                timer.cancel()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._answering = cycle
        super()._start_asgi_task(cycle, app)

    def on_message_begin(self) -> None:
        """The first byte of a head."""
        super().on_message_begin()
        self._in_head, self._overhead = True, 0

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header; trailers are dropped, since nothing reads them."""
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is there."""
        self._in_head, self._overhead = False, 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Bytes that Content-Length or a chunk has announced."""
        self._body_bytes += len(body)
        super().on_body(body)

    def data_received(self, data: bytes) -> None:
        """Bytes of heads and bodies."""
        self._unparsed += data
        self._parse()

    def _parse(self) -> None:
        """Parses what has come, up to a request that must wait until those before it are answered."""
        while self._unparsed and not self.pipeline and not self.transport.is_closing():
            part = bytes(self._unparsed[:SLICE])
            del self._unparsed[:SLICE]
            self._parse_slice(part)
        if self._unparsed:
            self.flow.pause_reading()
        self._watch_head()

    def _parse_slice(self, part: bytes) -> None:
        self._body_bytes = 0
        super().data_received(part)
        self._overhead += len(part) - (1 + BODY_CREDIT) * self._body_bytes
        self._overhead = max(0, self._overhead)
        if self._overhead <= MAX_HEAD:
            return
        if self._in_head:
            self._refuse(431, f"the request's head is over {MAX_HEAD} bytes: send fewer or shorter headers")
        elif self.cycle.response_complete:
            self._end()  # the rest of a body that was refused
        else:
            self._refuse(
                431,
                f"the body's chunk extensions and trailers are over {MAX_HEAD} bytes: send the body with a "
                "Content-Length, or without them",
            )

    def _watch_head(self) -> None:
        """Waits for a head while no request is being answered; what is left of a refused body counts too."""
        answering = self.cycle is not None and not self.cycle.response_complete
        if answering and self._head_timer:
            self._head_timer.cancel()
            self._head_timer = None
        elif not answering and not self._head_timer:
            self._head_timer = self.loop.call_later(self.header_seconds, self._end)

    def _end(self) -> None:
        self.transport.close()
        self._watch_unsent()

    # ---- answers

    def pause_writing(self) -> None:
        """The client takes less than it is sent."""
        super().pause_writing()
        self._watch_unsent()

    def resume_writing(self) -> None:
        """It has caught up."""
        super().resume_writing()
        if self._stall_timer:
            self._stall_timer.cancel()
            self._stall_timer = None

    def on_response_complete(self) -> None:
        """All is written, but perhaps not taken."""
        super().on_response_complete()
        if self.transport.is_closing():
            self._watch_unsent()
        else:
            self._parse()

    def timeout_keep_alive_handler(self) -> None:
        """No further request came."""
        super().timeout_keep_alive_handler()
        self._watch_unsent()

    def _watch_unsent(self) -> None:
        if not self._stall_timer and self.transport.get_write_buffer_size():
            self._stall_timer = self.loop.call_later(self.stall_seconds, self._look, self._unsent())

    def _look(self, before: int) -> None:
        self._stall_timer = None
        if self._unsent() < before:
            self._watch_unsent()
            return
        # To close would wait until all is sent, and so would the kernel with what it holds: a reset does not.
        with socket.fromfd(self._file_number(), socket.AF_INET, socket.SOCK_STREAM) as same:
            same.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    def _unsent(self) -> int:
        """Bytes that the client has not taken, those in the kernel too: it may take them in large steps."""
        kernel = b"\0" * 4
        with contextlib.suppress(OSError):
            kernel = fcntl.ioctl(self._file_number(), termios.TIOCOUTQ, kernel)
        return self.transport.get_write_buffer_size() + int(struct.unpack("i", kernel)[0])

    def _file_number(self) -> int:
        return int(self.transport.get_extra_info("socket").fileno())

    # ---- what is no HTTP

    def send_400_response(self, msg: str) -> None:
        """The parser's refusal, as a problem object."""
        self._refuse(400, "this is no HTTP request that can be read: see its first line, headers and lengths")

    def _refuse(self, status: int, detail: str) -> None:
        """Answers in the application's place, unless an answer is on its way, and closes."""
        one = self._answering
        if not (one and one.response_started and not one.response_complete):
            self.transport.write(_problem(status, detail))
        self._end()


def _problem(status: int, detail: str) -> bytes:
    """A whole HTTP answer."""
    REFUSALS.labels(reason=REASONS.get(status, "other")).inc()
    title = HTTPStatus(status).phrase
    body = json.dumps({"type": "about:blank", "title": title, "status": status, "detail": detail}).encode()
    headers = SecurityHeaders.HEADERS | {
        "Content-Type": PROBLEM_JSON, "Content-Length": str(len(body)), "Connection": "close",
        "Content-Security-Policy": SecurityHeaders.POLICY,
    }  # fmt: skip
    head = "\r\n".join(
        [f"HTTP/1.1 {status} {title}", *(f"{name}: {value}" for name, value in headers.items())]
    )
    return head.encode() + b"\r\n\r\n" + body
