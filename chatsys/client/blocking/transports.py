"""The transports of Engine.IO 4: WebSocket, HTTP long-polling, or polling that becomes a WebSocket as in a browser."""

from __future__ import annotations

import time

import gevent
import msgspec

from chatsys.client.address import ServerAddress
from chatsys.client.blocking.polling import PollingTransport
from chatsys.client.blocking.websocket import WebSocketTransport
from chatsys.client.transport import Handshaken, Hooks, PacketTransport, TransportError


class UpgradingTransport:
    """Polling first; a WebSocket takes over if the server offers one and answers the probe. Else polling continues."""

    def __init__(self, address: ServerAddress, hooks: Hooks) -> None:
        self._address = address
        self._hooks = hooks
        self._timeout = 0.0
        own = msgspec.structs.replace(hooks, received=self._received, lost=self._lost)
        self._polling = PollingTransport(address, own)
        self._carrier: PacketTransport | None = self._polling
        self._held: list[tuple[bool, bytes]] = []
        self._upgrading: gevent.Greenlet | None = None
        self._closed = False
        self._farewell = b""

    def open(self, timeout: float) -> Handshaken:
        """Shake hands by polling, and begin to probe. Raises TransportError."""
        self._timeout = timeout
        opened = self._polling.open(timeout)
        if "websocket" in opened.upgrades:
            self._upgrading = gevent.spawn(self._upgrade, opened.sid)
        return opened

    def send(self, packet: bytes) -> None:
        """Send one text packet on the current transport."""
        if self._carrier is None:
            self._held.append((False, packet))
        else:
            self._carrier.send(packet)

    def send_binary(self, data: bytes) -> None:
        """Send one binary message on the current transport."""
        if self._carrier is None:
            self._held.append((True, data))
        else:
            self._carrier.send_binary(data)

    def close(self, farewell: bytes = b"") -> None:
        """Close, during an upgrade as soon as that is over. Idempotent."""
        if self._closed:
            return
        self._closed, self._farewell = True, farewell
        if self._carrier is not None:
            if self._upgrading is not None:
                self._upgrading.kill(block=False)
            self._carrier.close(farewell)

    def _received(self, packet: bytes) -> None:
        if not self._closed:
            self._hooks.received(packet)

    def _lost(self, cause: str) -> None:
        """Polling failed before the upgrade was over."""
        if not self._closed:
            self.close()
            self._hooks.lost(cause)

    def _upgrade(self, sid: str) -> None:
        begun = time.perf_counter()
        websocket = WebSocketTransport(self._address, self._hooks)
        late = TransportError(f"upgrade: not over in {self._timeout:g} s")
        try:
            with gevent.Timeout(self._timeout, late):
                websocket.probe(sid, self._timeout)
                self._carrier = None
                self._polling.pause()
        except TransportError as error:
            websocket.close()
            if self._carrier is None:  # neither transport can continue
                self._polling.close()
                self._lost(str(error))
            else:
                self._hooks.failed("upgrade", error)
            return
        except gevent.GreenletExit:
            websocket.close()
            return
        websocket.begin()
        websocket.send(b"5")
        for binary, data in self._held:
            (websocket.send_binary if binary else websocket.send)(data)
        self._held, self._upgrading = [], None
        if self._closed:
            websocket.close(self._farewell)
        else:
            self._carrier = websocket
            self._hooks.upgraded((time.perf_counter() - begun) * 1000)


TRANSPORTS: dict[str, type[WebSocketTransport] | type[PollingTransport] | type[UpgradingTransport]] = {
    "websocket": WebSocketTransport,
    "polling": PollingTransport,
    "upgrade": UpgradingTransport,
}
