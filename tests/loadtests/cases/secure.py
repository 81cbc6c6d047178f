"""The client's promises over TLS: each case gets an address, the authority's certificate and a transport."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from chatsys.client.blocking.client import SocketIOClient
from chatsys.client.errors import ConnectFailed


def _seen(url: str, transport: str, **options: Any) -> dict[str, str]:
    """Return what the server saw of a client's handshake."""
    client = SocketIOClient(url, transport=transport, timeout=30, **options)
    client.connect()
    (seen,) = client.call("handshake").args
    big = "x" * 300_000
    assert client.call("echo", big).args == [big]
    assert client.call("bytes_of", bytes(70_000)).args == [["bytes", 70_000]]
    client.disconnect()
    return dict(seen)


def _refusal(action: Callable[[], object]) -> str:
    try:
        action()
    except ConnectFailed as error:
        return str(error)
    raise AssertionError("connected")


def host_name_and_ca_file_allow_a_connection_with_prefix_and_query(address: str, ca_file: str, transport: str) -> None:
    named = address.replace("127.0.0.1", "localhost")
    for scheme in ("https", "wss"):
        url = named.replace("https", scheme) + "/prefix/?tenant=7"
        seen = _seen(url, transport, ca_file=ca_file)
        assert "tenant=7" in seen["query"]
        assert seen["sni"] == "localhost"


def handshake_name_may_differ_from_the_host(address: str, ca_file: str, transport: str) -> None:
    seen = _seen(address + "/prefix", transport, ca_file=ca_file, server_name="localhost")
    assert seen["sni"] == "localhost"


def a_certificate_for_another_name_is_refused(address: str, ca_file: str, transport: str) -> None:
    said = _refusal(lambda: _seen(address + "/prefix", transport, ca_file=ca_file))
    assert "certificate" in said


def unknown_authority_is_refused_unless_verification_is_off(address: str, _ca_file: str, transport: str) -> None:
    assert "certificate" in _refusal(lambda: _seen(address + "/prefix", transport, server_name="localhost"))
    assert _seen(address + "/prefix", transport, verify=False)["query"]


def plain_text_to_a_server_with_tls_is_a_failure(address: str, _ca_file: str, transport: str) -> None:
    plain = address.replace("https", "ws") + "/prefix"
    assert _refusal(lambda: _seen(plain, transport)).startswith("connect: ")
