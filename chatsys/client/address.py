"""Where a Socket.IO server is, and what each request to it carries: path, query, headers, cookies, TLS."""

from __future__ import annotations

import base64
import functools
import ssl
from collections.abc import Callable, Iterable, Mapping
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import unquote, urlsplit

_SECURE = {"http": False, "ws": False, "https": True, "wss": True}


class ServerAddress:
    """One server as one client reaches it. Cookies that the server sets are sent from then on, as a browser does.

    ``url`` is ``http(s)://`` or ``ws(s)://``; a path in it is put before ``path``, and its query is sent with each
    request. ``headers`` are sent with each request, and may include ``Host`` and ``Origin``. ``ca_file`` (PEM) replaces
    the system's authorities, ``verify=False`` accepts any certificate, and ``server_name`` replaces the URL's host for
    SNI and for the check of the certificate. Raises ValueError for an invalid address or header.
    """

    def __init__(
        self,
        url: str,
        *,
        path: str = "/socket.io/",
        headers: Mapping[str, str] | None = None,
        cookies: Mapping[str, str] | None = None,
        ca_file: str | None = None,
        verify: bool = True,
        server_name: str | None = None,
    ) -> None:
        parts = urlsplit(url or "")
        if parts.scheme not in _SECURE or not parts.hostname:
            raise ValueError(f"{url!r} is not the address of a server: give http(s)://host:port or ws(s)://host:port")
        self.secure = _SECURE[parts.scheme]
        self.host = parts.hostname
        self.port = parts.port or (443 if self.secure else 80)
        self.cookies = dict(cookies or {})
        self._path = parts.path.rstrip("/") + "/" + path.strip("/") + "/"
        self._query = parts.query + "&" if parts.query else ""
        self._headers = {"Host": parts.netloc.rpartition("@")[2]}
        if parts.username is not None:
            secret = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            self._headers["Authorization"] = "Basic " + base64.b64encode(secret.encode()).decode()
        for name, value in (headers or {}).items():
            if any(character in name + value for character in "\r\n\0"):
                raise ValueError(f"the header {name!r} has a line break in it")
            self._headers = {key: kept for key, kept in self._headers.items() if key.lower() != name.lower()}
            self._headers[name] = value
        self._ca_file, self._verify = ca_file, verify
        self.server_name = server_name or self.host

    def target(self, transport: str, sid: str = "") -> str:
        """The request target of an Engine.IO transport, for a new session or for ``sid``."""
        return f"{self._path}?{self._query}EIO=4&transport={transport}" + (f"&sid={sid}" if sid else "")

    def headers(self) -> dict[str, str]:
        """The headers of each request."""
        if not self.cookies:
            return self._headers
        return self._headers | {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}

    def learn(self, set_cookies: Iterable[str]) -> None:
        """Keep the cookies of an answer: a load balancer uses them to find the same server again."""
        for line in set_cookies:
            try:
                found = SimpleCookie(line)
            except CookieError:  # a name that no browser takes either
                continue
            for name, morsel in found.items():
                if morsel["max-age"] == "0":
                    self.cookies.pop(name, None)
                else:
                    self.cookies[name] = morsel.coded_value

    def context(self, made: Callable[[Any], ssl.SSLContext] = ssl.SSLContext) -> ssl.SSLContext:
        """The TLS context, of the class that the sockets want. Raises OSError for authorities that can't be read."""
        return _context(made, self._ca_file, self._verify)


@functools.cache
def _context(made: Callable[[Any], ssl.SSLContext], ca_file: str | None, verify: bool) -> ssl.SSLContext:
    """One context for all clients of a process: reading the authorities takes 20 ms."""
    context = made(ssl.PROTOCOL_TLS_CLIENT)
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif ca_file is not None:
        context.load_verify_locations(ca_file)
    else:
        context.load_default_certs()
    return context
