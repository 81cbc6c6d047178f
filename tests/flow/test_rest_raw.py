"""Bytes that no HTTP library would send: each gets an answer or a closed connection, and the server continues."""

from __future__ import annotations

import json
import socket

import pytest

from tests.flow.clients import WAIT, get
from tests.flow.serving import Served

REGISTER = b"POST /api/auth/register HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
LAST = b"Connection: close\r\n\r\n"
TOO_LARGE = b"request entity too large"


def talk(port: int, *parts: bytes, until: bytes | None = None) -> bytes:
    """Send the parts; then read until the server closes or has sent ``until``."""
    received = b""
    with socket.create_connection(("127.0.0.1", port), timeout=WAIT) as connection:
        try:
            for part in parts:
                connection.sendall(part)
            while (until is None or until not in received) and (chunk := connection.recv(65_536)):
                received += chunk
        except ConnectionError:
            return received
    return received


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    served = Served(tmp_path_factory.mktemp("raw"), "--database-url", "memory://", "--port", "0")
    assert served.url, served.stderr
    yield served
    served.kill()


NOT_HTTP = {
    "nothing of HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)),
    "words": b"hello there\r\n\r\n",
    "a null character in the path": b"GET /\0 HTTP/1.1\r\nHost: x\r\n\r\n",
    "bytes over 127 in the path": b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
    "no path": b"GET  HTTP/1.1\r\nHost: x\r\n\r\n",
    "a header without a colon": b"GET / HTTP/1.1\r\nHost\r\n\r\n",
    "two lengths": REGISTER + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "a negative length": REGISTER + b"Content-Length: -1\r\n\r\n",
    "a length beyond all bounds": REGISTER + b"Content-Length: " + b"9" * 40 + b"\r\n\r\n",
    "a chunk size that is none": REGISTER + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
    "an unknown version": b"GET / HTTP/9.9\r\nHost: x\r\n\r\n",
    "CONNECT": b"CONNECT example.org:443 HTTP/1.1\r\nHost: x\r\n\r\n",
}


@pytest.mark.parametrize("name", NOT_HTTP)
def test_request_that_is_not_http_gets_400_or_a_closed_connection(server, name):
    received = talk(server.port, NOT_HTTP[name])
    if received:
        head, _, body = received.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 4")
        assert json.loads(body)["success"] is False
    assert get(f"{server.url}/api/health").status_code == 200
    assert "Traceback" not in server.stderr


def test_endless_request_head_is_cut_off(server):
    received = talk(
        server.port, b"GET / HTTP/1.1\r\n", *[b"x-%d: %s\r\n" % (number, b"y" * 4096) for number in range(400)]
    )
    assert received.startswith(b"HTTP/1.1 431") or received == b""
    assert get(f"{server.url}/api/health").status_code == 200


def test_many_requests_on_one_connection_are_answered_in_order(server):
    request = b"GET /api/users/search/%d HTTP/1.1\r\nHost: x\r\n"
    requests = b"\r\n".join(request % number for number in range(200)) + LAST
    received = talk(server.port, requests)
    queries = [json.loads(part.split(b"\r\n\r\n")[1])["query"] for part in received.split(b"HTTP/1.1 200 OK")[1:]]
    assert queries == [str(number) for number in range(200)]


def test_too_long_body_gets_413_and_the_connection_stays_usable(server):
    body = b"x" * 102_401
    tall = REGISTER + b"Content-Length: %d\r\n\r\n" % len(body) + body
    received = talk(server.port, tall, b"GET /api/health HTTP/1.1\r\nHost: x\r\n" + LAST)
    assert received.startswith(b"HTTP/1.1 413")
    assert TOO_LARGE in received
    assert b"HTTP/1.1 200" in received


def test_endless_chunked_body_gets_413(server):
    chunk = b"1000\r\n" + b"x" * 4096 + b"\r\n"
    received = talk(server.port, REGISTER + b"Transfer-Encoding: chunked\r\n\r\n", *[chunk] * 40, until=TOO_LARGE)
    assert received.startswith(b"HTTP/1.1 413")


def test_client_that_disconnects_within_a_body_is_forgotten(server):
    for _ in range(50):
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            connection.sendall(REGISTER + b"Content-Length: 100\r\n\r\n{")
    assert get(f"{server.url}/api/health").status_code == 200
    assert "Traceback" not in server.stderr
