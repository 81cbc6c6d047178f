"""TLS and passwords in the URLs of Redis and NATS, with a certificate authority made for the test."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from chatsys.bus.contract import Broker
from chatsys.bus.nats import NatsBroker
from chatsys.bus.redis import RedisBroker
from chatsys.errors import BusUnavailable
from tests.brokers import nats_server, redis_server
from tests.certificates import certificate
from tests.conftest import free_port, passable

from .conftest import PREFIX, running, texts

pytestmark = pytest.mark.process

HOST = "127.0.0.1"
LEASE = 15
"""Seconds: a handshake on a busy machine may take longer than the short lease of the other tests allows."""


class Encrypted(NamedTuple):
    """A broker that accepts only TLS. ``url`` takes a password and a file with certificate authorities."""

    url: Callable[[str, Path | None], str]
    broker: Callable[[str], Broker]
    ca: Path
    other_ca: Path


@pytest.fixture(scope="module")
def folder(shared_folder: Path) -> Path:
    made = passable(tempfile.mkdtemp(dir=shared_folder))
    for name in ("ca", "other-ca"):
        certificate(made, name, "")
    certificate(made, "server", f"IP:{HOST}", authority=made / "ca.pem")
    return made


@pytest.fixture(scope="module", params=["redis", "nats"])
def encrypted(request: pytest.FixtureRequest, folder: Path) -> Iterator[Encrypted]:
    port, key, own = free_port(), folder / "server.key", folder / "server.pem"
    ca, other_ca = folder / "ca.pem", folder / "other-ca.pem"
    if request.param == "redis":
        options = ["--port", "0", "--tls-port", str(port), "--tls-cert-file", str(own), "--tls-key-file", str(key)]
        options += ["--tls-ca-cert-file", str(ca), "--tls-auth-clients", "no", "--requirepass", "s3cr?t"]
        process = redis_server(port, folder, *options)

        def url(password: str, authority: Path | None) -> str:
            more = "" if authority is None else f"?ssl_ca_certs={authority}"
            return f"rediss://:{password}@{HOST}:{port}/0{more}"

        made = Encrypted(url, lambda url: RedisBroker(url, PREFIX), ca, other_ca)
    else:
        options = ["--tls", "--tlscert", str(own), "--tlskey", str(key), "--user", "chat", "--pass", "s3cr?t"]
        process = nats_server(port, *options)

        def url(password: str, authority: Path | None) -> str:
            more = "" if authority is None else f"?ca={authority}"
            return f"tls://chat:{password}@{HOST}:{port}{more}"

        made = Encrypted(url, lambda url: NatsBroker(url, PREFIX), ca, other_ca)
    yield made
    process.stop(kill=True)


@pytest.fixture(autouse=True)
async def _time_to_close() -> AsyncIterator[None]:
    """Give TLS time for its closing exchange, for which nothing else waits."""
    yield
    await asyncio.sleep(0.3)


async def refused(encrypted: Encrypted, url: str) -> BusUnavailable:
    """Return the start's error, which comes within five seconds, names the remedy and shows no password."""
    began = time.monotonic()
    with pytest.raises(BusUnavailable) as caught:
        async with running(encrypted.broker(url), lease=LEASE):
            pass
    assert time.monotonic() - began < 5
    assert "CHATSYS_BUS_URL" in caught.value.hint
    assert "\n" not in caught.value.message
    assert "s3cr" not in caught.value.message
    return caught.value


async def test_bus_over_tls_carries_events(encrypted: Encrypted) -> None:
    url = encrypted.url("s3cr%3Ft", encrypted.ca)
    async with running(encrypted.broker(url), lease=LEASE) as one, running(encrypted.broker(url), lease=LEASE) as two:
        await one.enter("r")
        await two.enter("r")
        one.send("r", "hello", two)
        await two.until(lambda: texts(two) == ["hello"])


async def test_bus_over_tls_refuses_a_wrong_password(encrypted: Encrypted) -> None:
    error = await refused(encrypted, encrypted.url("wr0ng", encrypted.ca))
    assert "refuse" in error.message
    assert "wr0ng" not in error.message


@pytest.mark.parametrize("which", ["another", "none"])
async def test_bus_over_tls_refuses_a_certificate_of_another_authority(encrypted: Encrypted, which: str) -> None:
    authority = encrypted.other_ca if which == "another" else None
    error = await refused(encrypted, encrypted.url("s3cr%3Ft", authority))
    assert "certificate" in error.message


async def test_bus_over_tls_refuses_a_certificate_for_another_host(encrypted: Encrypted) -> None:
    url = encrypted.url("s3cr%3Ft", encrypted.ca).replace(HOST, "localhost")
    error = await refused(encrypted, url)
    assert "localhost" in error.message


async def test_bus_over_tls_refuses_a_server_without_tls(encrypted: Encrypted, tmp_path: Path) -> None:
    port = free_port()
    process = redis_server(port, tmp_path) if "rediss" in encrypted.url("", None) else nats_server(port)
    try:
        url = encrypted.url("s3cr%3Ft", encrypted.ca)
        host = url.rpartition("@")[2].partition("?")[0].partition("/")[0]
        await refused(encrypted, url.replace(host, f"{HOST}:{port}"))
    finally:
        process.stop(kill=True)


async def test_bus_sends_no_password_to_a_nats_server_without_tls(folder: Path) -> None:
    port = free_port()
    seen: list[bytes] = []

    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'INFO {"server_id":"x","version":"2.9.10","max_payload":1048576,"auth_required":true}\r\n')
        while data := await reader.read(1000):
            seen.append(data)
        writer.close()

    async with await asyncio.start_server(plain, HOST, port):
        with pytest.raises(BusUnavailable, match="does not use TLS"):
            async with running(NatsBroker(f"tls://chat:s3cret@{HOST}:{port}?ca={folder / 'ca.pem'}", PREFIX)):
                pass
    assert b"s3cret" not in b"".join(seen)


async def test_bus_uses_a_nats_server_of_the_cluster_that_answers() -> None:
    port = free_port()
    process = nats_server(port)
    try:
        url = f"nats://{HOST}:{free_port()},nats://{HOST}:{port},nats://{HOST}:{free_port()}"
        for _ in range(5):
            async with running(NatsBroker(url, PREFIX)):
                pass
    finally:
        process.stop(kill=True)


async def test_bus_over_tls_names_a_missing_authority_file(encrypted: Encrypted, tmp_path: Path) -> None:
    error = await refused(encrypted, encrypted.url("s3cr%3Ft", tmp_path / "missing.pem"))
    assert "No such file" in error.message
