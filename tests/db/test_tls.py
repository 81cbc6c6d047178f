"""TLS to a real server with a certificate authority made for the test, through both drivers and the programs."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from chatsys import errors
from chatsys.database.embedded import embedded_server
from chatsys.store.opening import open_store
from chatsys.store.options import StoreOptions
from tests.certificates import certificate
from tests.conftest import free_port, passable, system_programs
from tests.db.conftest import chatsys, content, fill_chat, rows

HOST = "127.0.0.1"
LOCALE = ("--locale=C.UTF-8",)


class TlsServer:
    """A server that accepts TCP connections only with TLS. ``ca`` signed its certificate, ``other_ca`` did not."""

    def __init__(self, socket_url: str, url: str, ca: Path, other_ca: Path) -> None:
        self.socket_url = socket_url
        self.url = url
        self.ca = ca
        self.other_ca = other_ca


@pytest.fixture(scope="module")
def tls(shared_folder: Path) -> Iterator[TlsServer]:
    """The system's PostgreSQL with TLS, which the embedded one does not support."""
    folder = passable(tempfile.mkdtemp(dir=shared_folder))
    ca, other_ca = certificate(folder, "ca", ""), certificate(folder, "other-ca", "")
    port = free_port()
    home = folder / "pg"
    with embedded_server(home, programs=system_programs(), locale=LOCALE) as socket_url:
        data = home / "data"
        made = certificate(folder, "server", f"IP:{HOST}", authority=ca)
        for source, name in ((made, "server.crt"), (made.with_suffix(".key"), "server.key")):
            (data / name).write_bytes(source.read_bytes())
            (data / name).chmod(0o600)
            os.chown(data / name, data.stat().st_uid, data.stat().st_gid)
        with psycopg.connect(socket_url) as admin:
            admin.execute("ALTER ROLE chatsys PASSWORD 'p@ss/w:rd #1'")
        (data / "pg_hba.conf").write_text(
            f"local all all trust\nhostssl all all {HOST}/32 scram-sha-256\nhostnossl all all {HOST}/32 reject\n"
        )
    settings = {"ssl": "on", "listen_addresses": HOST, "port": str(port)}
    with embedded_server(home, programs=system_programs(), settings=settings) as found:
        socket_url = f"{found}&port={port}"
        url = f"postgres://chatsys:p%40ss%2Fw%3Ard%20%231@{HOST}:{port}/chatsys"
        assert chatsys("db", "init", "--database-url", socket_url).returncode == 0
        yield TlsServer(socket_url, url, ca, other_ca)


async def talk(url: str, **options: object) -> None:
    """Open the store through asyncpg, and show the database's status through libpq."""
    async with open_store(url, StoreOptions(pool_size=5, **options)) as store:  # type: ignore[arg-type]
        assert [room.name for room in await store.rooms()] == ["general", "random", "tech"]
    environment = {"DB_SSL": "true"} if options.get("ssl") else {}
    if options.get("ssl_ca_file"):
        environment["DB_SSL_CA_CERT_PATH"] = str(options["ssl_ca_file"])
    shown = chatsys("db", "status", "--database-url", url, **environment)
    assert shown.returncode == 0, shown.stderr


async def test_db_ssl_encrypts_without_a_ca_file(tls: TlsServer) -> None:
    await talk(tls.url, ssl=True)


async def test_db_ssl_verifies_with_a_ca_file(tls: TlsServer) -> None:
    await talk(tls.url, ssl=True, ssl_ca_file=tls.ca)


async def test_sslmode_and_sslrootcert_in_the_url_are_respected(tls: TlsServer) -> None:
    await talk(f"{tls.url}?sslmode=require")
    await talk(f"{tls.url}?sslmode=verify-full&sslrootcert={tls.ca}")


async def test_missing_ca_file_is_a_warning(tls: TlsServer, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    await talk(tls.url, ssl=True, ssl_ca_file=tmp_path / "missing.pem")
    assert "missing.pem can't be read: TLS to the database without verifying its certificate." in caplog.text


@pytest.mark.parametrize("way", ["settings", "url"])
async def test_certificate_of_another_authority_is_refused(tls: TlsServer, way: str) -> None:
    url = f"{tls.url}?sslmode=verify-full&sslrootcert={tls.other_ca}" if way == "url" else tls.url
    with pytest.raises(errors.TlsFailed):
        await talk(url, ssl=way == "settings", ssl_ca_file=tls.other_ca)
    said = chatsys("db", "status", "--database-url", f"{tls.url}?sslmode=verify-full&sslrootcert={tls.other_ca}")
    assert re.match(r"Error: TLS to the database on 127\.0\.0\.1:\d+ failed: SSL error: certificate", said.stderr)


async def test_certificate_for_another_host_is_refused(tls: TlsServer) -> None:
    url = tls.url.replace(HOST, "localhost")
    with pytest.raises(errors.TlsFailed):
        await talk(url, ssl=True, ssl_ca_file=tls.ca)


async def test_server_that_requires_tls_says_so_to_a_client_without_it(tls: TlsServer) -> None:
    with pytest.raises(errors.AuthenticationFailed) as refused:
        await talk(f"{tls.url}?sslmode=disable")
    assert "set DB_SSL=true" in refused.value.hint


@pytest.mark.parametrize("name", ["chat.sql", "chat.dump"])
def test_backup_and_restore_use_tls(tls: TlsServer, tmp_path: Path, name: str) -> None:
    fill_chat(tls.socket_url, 50) if not rows(tls.socket_url, "SELECT FROM users") else None
    before = content(tls.socket_url)
    environment = {"DB_SSL": "true", "DB_SSL_CA_CERT_PATH": str(tls.ca)}
    made = chatsys("db", "backup", str(tmp_path / name), "--verify", "--database-url", tls.url, **environment)
    assert "Verified" in made.stdout, made.stderr
    done = chatsys("db", "restore", str(tmp_path / name), "--yes", "--database-url", tls.url, **environment)
    assert done.returncode == 0, done.stderr
    assert content(tls.socket_url) == before
