"""gevent sockets to an address, and HTTP connections on them."""

from __future__ import annotations

import http.client

from gevent import socket, ssl

from chatsys.client.address import ServerAddress


def connected(address: ServerAddress, timeout: float) -> socket.socket:
    """A connected socket. Raises OSError, also for a refused certificate."""
    sock = socket.create_connection((address.host, address.port), timeout)
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if address.secure:
            return address.context(ssl.SSLContext).wrap_socket(sock, server_hostname=address.server_name)
    except BaseException:
        sock.close()
        raise
    return sock


class HttpConnection(http.client.HTTPConnection):
    """An HTTP connection to a :class:`ServerAddress`, made at its first request and kept."""

    def __init__(self, address: ServerAddress, timeout: float) -> None:
        super().__init__(address.host, address.port, timeout=timeout)
        self.address = address

    def connect(self) -> None:
        """Connect; called by the library."""
        self.sock = connected(self.address, self.timeout)
