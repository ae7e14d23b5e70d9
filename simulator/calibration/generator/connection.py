"""One TCP connection that asks and reads answers, HTTP/1.1, parsed by httptools."""

from __future__ import annotations

import errno
import os
import selectors
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import httptools

from simulator.calibration.generator.loop import Loop, now_ns

if TYPE_CHECKING:
    from simulator.calibration.generator.requests import Request

READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE
CHUNK = 65_536
KEPT_OF_BODY = 2_048
"""Bytes of a failed answer's body that are kept: they say why."""


class Connection:
    """A connection and the one request on it.

    ``answered`` is called with the connection when an answer is whole, ``lost`` with the
    connection and a reason when none will come. What an answer said stands in the fields.
    """

    __slots__ = (
        "_connecting", "_lasts", "_loop", "_parser", "_payload", "_registered", "answered",
        "body", "chunked", "first_ns", "lost", "open", "request", "sent_ns", "sock", "status",
        "times",
    )  # fmt: skip

    def __init__(
        self,
        loop: Loop,
        family: int,
        answered: Callable[[Connection], None],
        lost: Callable[[Connection, str], None],
    ) -> None:
        self._loop = loop
        self.answered = answered
        self.lost = lost
        self.sock = socket.socket(family, socket.SOCK_STREAM)
        self.sock.setblocking(False)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._parser = httptools.HttpResponseParser(self)
        self._payload = b""
        self._connecting = False
        self._registered = 0
        self._lasts = True
        self.open = False
        self.request: Request | None = None
        self._clear()

    def _clear(self) -> None:
        self.status = 0
        self.body = b""
        self.times = b""
        self.chunked = False
        self.first_ns = 0
        self.sent_ns = 0

    def connect(self, address: tuple[Any, ...]) -> None:
        """Begin to connect; what is asked meanwhile is sent when it has."""
        code = self.sock.connect_ex(address)
        if code == 0:
            self.open = True
            self._listen(READ)
        elif code == errno.EINPROGRESS:
            self._connecting = True
            self._listen(WRITE)
        else:
            self._lose(code)

    def ask(self, request: Request, payload: bytes) -> None:
        """Send a request, now or as soon as the connection is open."""
        self._clear()
        self.request = request
        if not self.open:
            self._payload = payload
            return
        self._send(payload)

    def rest(self) -> None:
        """Hear nothing more of it; it stays open."""
        if self._registered:
            self._loop.selector.unregister(self.sock)
            self._registered = 0

    def close(self) -> None:
        """Close it; nobody hears of it any more."""
        self.rest()
        self.open = False
        self.request = None
        self.sock.close()

    def _listen(self, events: int) -> None:
        selector = self._loop.selector
        if self._registered:
            selector.modify(self.sock, events, self._ready)
        else:
            selector.register(self.sock, events, self._ready)
        self._registered = events

    def _send(self, payload: bytes) -> None:
        # Before the call: on loopback it wakes the server, who may run before it returns.
        self.sent_ns = now_ns()
        try:
            # A request is smaller than any socket's buffer: it goes out whole.
            sent = self.sock.send(payload)
        except OSError as error:
            self._lose(error.errno or 0)
            return
        if sent < len(payload):
            self._lose(errno.ENOBUFS)

    def _ready(self, mask: int) -> None:
        if self._connecting:
            self._connected()
            return
        try:
            data = self.sock.recv(CHUNK)
        except BlockingIOError:
            return
        except OSError as error:
            self._lose(error.errno or 0)
            return
        if not data:
            self._ended()
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._lose_because("bad_answer")

    def _connected(self) -> None:
        code = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        self._connecting = False
        if code:
            self._lose(code)
            return
        self.open = True
        self._listen(READ)
        if self._payload:
            payload, self._payload = self._payload, b""
            self._send(payload)

    def _ended(self) -> None:
        """The server has closed: an answer without a length ends here, others are cut off."""
        if self.status and not self._lasts:
            self.on_message_complete()
            return
        self._lose(errno.ECONNRESET)

    def _lose(self, code: int) -> None:
        self._lose_because(_REASONS.get(code) or errno.errorcode.get(code, os.strerror(code)))

    def _lose_because(self, reason: str) -> None:
        self.open = False
        self.lost(self, reason)

    # What the parser calls.

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep what is needed of the headers."""
        low = name.lower()
        if low == b"x-sim-times":
            self.times = value
        elif low == b"content-length":
            self._lasts = True
        elif low == b"transfer-encoding":
            self.chunked = self._lasts = True

    def on_message_begin(self) -> None:
        """A new answer: whether its end can be known is not known yet."""
        self._lasts = False

    def on_headers_complete(self) -> None:
        """Its status is known."""
        self.status = self._parser.get_status_code()
        if self.status in (204, 304):
            self._lasts = True

    def on_body(self, data: bytes) -> None:
        """The first byte's instant; and what a failure says."""
        if not self.first_ns:
            self.first_ns = now_ns()
        if self.status >= 400 and len(self.body) < KEPT_OF_BODY:
            self.body += data

    def on_message_complete(self) -> None:
        """The answer is whole; one that nobody asked for is dropped."""
        if not self._parser.should_keep_alive() or not self._lasts:
            self.open = False
        if self.request is not None:
            self.answered(self)


_REASONS = {
    errno.ECONNREFUSED: "connection_refused",
    errno.ECONNRESET: "connection_reset",
    errno.EPIPE: "connection_reset",
    errno.ETIMEDOUT: "connect_timeout",
}
