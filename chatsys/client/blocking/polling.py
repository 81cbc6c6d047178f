"""Engine.IO 4 over HTTP long-polling: one greenlet polls, one posts, each on its own persistent connection."""

from __future__ import annotations

import base64
import http.client
from collections.abc import Callable
from itertools import accumulate

import gevent
from gevent.event import Event
from gevent.select import select

from chatsys.client.address import ServerAddress
from chatsys.client.blocking.websocket import connected
from chatsys.client.transport import Handshaken, Hooks, TransportError, handshaken

_SEPARATOR = b"\x1e"  # between the packets of one payload, Engine.IO protocol 4
_MOST_PACKETS = 16
"""In one POST; python-engineio refuses more."""


class HttpConnection(http.client.HTTPConnection):
    """An HTTP connection to a :class:`ServerAddress`, made at its first request and kept."""

    def __init__(self, address: ServerAddress, timeout: float) -> None:
        super().__init__(address.host, address.port, timeout=timeout)
        self.address = address

    def connect(self) -> None:
        """Connect; called by the library."""
        self.sock = connected(self.address, self.timeout)


class PollingTransport:
    """One session over HTTP."""

    def __init__(self, address: ServerAddress, hooks: Hooks) -> None:
        self._address = address
        self._hooks = hooks
        self._target = address.target("polling")
        self._unsent: list[bytes] = []
        self._most = 0
        self._wake = Event()
        self._closed = False
        self._pausing = False
        self._said_goodbye = False
        self._greenlets: list[gevent.Greenlet] = []
        self._polling: HttpConnection | None = None
        self._posting: HttpConnection | None = None

    def open(self, timeout: float) -> Handshaken:
        """Shake hands, then begin to poll and to post. Raises TransportError."""
        try:
            self._polling = HttpConnection(self._address, timeout)
            self._posting = HttpConnection(self._address, timeout)
            first, *others = self._poll()
            opened = handshaken(first)
        except (OSError, http.client.HTTPException) as error:
            raise TransportError(f"connect: {error or type(error).__name__}") from error
        self._target = self._address.target("polling", opened.sid)
        self._most = opened.maxPayload
        patience = opened.silence
        if self._polling.sock is not None:
            self._polling.sock.settimeout(patience)
        self._polling.timeout = patience
        self._deliver(others)
        self._greenlets = [gevent.spawn(self._guarded, work) for work in (self._keep_polling, self._keep_posting)]
        return opened

    def send(self, packet: bytes) -> None:
        """Queue one packet for the next POST."""
        self._unsent.append(packet)
        self._wake.set()

    def send_binary(self, data: bytes) -> None:
        """Queue one binary message."""
        self.send(b"b" + base64.b64encode(data))

    def pause(self) -> None:
        """Post what is queued, and end once the pending GET is answered: another transport continues the session."""
        self._pausing = True
        self._wake.set()
        gevent.joinall(self._greenlets)
        if self._closed:
            raise TransportError("upgrade: the connection was lost")

    def close(self, farewell: bytes = b"") -> None:
        """Let the posting greenlet send ``farewell`` and an Engine.IO close, then end both. Idempotent."""
        if self._closed:
            return
        self._closed = True
        if farewell:
            self._unsent.append(farewell)
            self._said_goodbye = True
        self._wake.set()

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except (OSError, http.client.HTTPException, TransportError) as error:
            if not self._closed:
                self._closed = True
                self._wake.set()
                self._hooks.lost(str(error) or type(error).__name__)

    def _keep_polling(self) -> None:
        try:
            while not self._closed and not self._pausing:
                self._deliver(self._poll())
        finally:
            self._polling.close()

    def _poll(self) -> list[bytes]:
        self._polling.request("GET", self._target, headers=self._address.headers())
        return self._body(self._polling).split(_SEPARATOR)

    def _deliver(self, packets: list[bytes]) -> None:
        for packet in packets:
            if self._closed:
                return
            if packet.startswith(b"b"):
                self._hooks.received_binary(base64.b64decode(packet[1:]))
            else:
                self._hooks.received(packet)

    def _keep_posting(self) -> None:
        try:
            while self._unsent or not (self._closed or self._pausing):
                if not self._unsent:
                    self._wake.wait()
                    self._wake.clear()
                    continue
                self._post(self._batch())
            if self._said_goodbye:  # not in one payload with the farewell: Node.js would handle this packet first
                self._post([b"1"])
        finally:
            self._posting.close()

    def _batch(self) -> list[bytes]:
        """As many of the queued packets as the server takes in one payload, at least one."""
        ends = accumulate(len(packet) + 1 for packet in self._unsent[:_MOST_PACKETS])  # with a separator after each
        count = max(1, sum(end - 1 <= self._most for end in ends))
        batch, self._unsent = self._unsent[:count], self._unsent[count:]
        return batch

    def _post(self, packets: list[bytes]) -> None:
        idle = self._posting.sock
        if idle is not None and select([idle], [], [], 0)[0]:  # the server has closed the idle connection
            self._posting.close()
        headers = self._address.headers() | {"Content-Type": "text/plain;charset=UTF-8"}
        self._posting.request("POST", self._target, _SEPARATOR.join(packets), headers)
        self._body(self._posting)

    def _body(self, connection: HttpConnection) -> bytes:
        response = connection.getresponse()
        body = response.read()
        self._address.learn(response.headers.get_all("Set-Cookie", ()))
        if response.status != 200:
            raise TransportError(f"HTTP {response.status} {body[:100].decode('utf-8', 'replace')}")
        return body
