"""Errors between a client and its server; the text of each is the cause."""

from __future__ import annotations


class SocketIOError(Exception):
    """Something went wrong between this client and the server."""


class ConnectFailed(SocketIOError):
    """The server did not answer, or refused the connection."""


class ConnectRefused(ConnectFailed):
    """The server refused this client in the namespace: a retry is useless."""


class ConnectionLost(SocketIOError):
    """The connection ended unexpectedly."""


class AckTimeout(SocketIOError):
    """The server did not acknowledge in time."""
