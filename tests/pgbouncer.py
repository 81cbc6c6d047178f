"""PgBouncer in transaction mode in front of a test's database."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import psycopg

from tests.conftest import free_port

CONFIGURATION = """
[databases]
* = host={socket} user=chatsys
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 2
server_reset_query_always = 0
logfile = {folder}/log
"""


@contextmanager
def bounced(database_url: str) -> Iterator[str]:
    """The URL of a database through PgBouncer, with two server connections for all clients."""
    program = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
    assert program, "these tests need PgBouncer: apt-get install pgbouncer"
    parts = urlsplit(database_url)
    port = free_port()
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    owner = Path(data_directory(database_url)).stat()
    (folder / "ini").write_text(CONFIGURATION.format(socket=parse_qs(parts.query)["host"][0], port=port, folder=folder))
    os.chown(folder, owner.st_uid, owner.st_gid)
    identity = {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []} if os.geteuid() == 0 else {}
    (folder / "ini").chmod(0o644)
    process = subprocess.Popen([program, "-q", folder / "ini"], **identity)  # type: ignore[call-overload]
    url = f"postgresql://chatsys@127.0.0.1:{port}{parts.path}"
    try:
        wait_for(url)
        yield url
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(folder)


def data_directory(url: str) -> str:
    """Return where the server keeps its data."""
    with psycopg.connect(url) as connection:
        row = connection.execute("SHOW data_directory").fetchone()
        assert row is not None
        return str(row[0])


def wait_for(url: str) -> None:
    """Wait until PgBouncer accepts a client."""
    for _ in range(3_000):
        try:
            psycopg.connect(url, connect_timeout=5).close()
        except psycopg.OperationalError:
            time.sleep(0.02)
        else:
            return
    raise AssertionError("PgBouncer did not start")
