"""The server of a load test: a child started by the line an operator would type, and its counters each second."""

from __future__ import annotations

import os
import re
import secrets
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import msgspec
import psutil
import psycopg
from prometheus_client.parser import text_string_to_metric_families

from chatsys.errors import OperatorError
from chatsys.store.embedded import embedded_server
from chatsys.store.postgres.address import with_database
from chatsys.store.postgres.admin import connected, create_database

SAMPLES = "server.jsonl"
LOG = "server.log"
START_PATIENCE = 60.0
STOP_PATIENCE = 15.0
_ADDRESS = re.compile(r"Listening on (http://\S+)")
_COUNTERS = """
SELECT d.xact_commit, d.xact_rollback, d.tup_inserted, d.tup_updated, d.blks_read, d.blks_hit, d.temp_files,
       pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint AS wal_bytes,
       (SELECT count(*) FROM pg_stat_activity a WHERE a.datname = d.datname AND a.state <> 'idle') AS busy_backends
FROM pg_stat_database d WHERE d.datname = current_database()
"""


@contextmanager
def empty_database(server_url: str | None, folder: Path, name: str) -> Iterator[str]:
    """The URL of a new database on ``server_url``, or on a private server in ``folder``; dropped afterwards."""
    if server_url is None:
        with embedded_server(folder) as url, empty_database(url, folder, name) as made:
            yield made
        return
    url = with_database(server_url, name)
    create_database(url)
    try:
        yield url
    finally:
        with connected(server_url, autocommit=True) as connection:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@contextmanager
def child_server(database_url: str, folder: Path) -> Iterator[tuple[str, int]]:
    """The address and process id of a server on ``database_url``; its log is ``folder/server.log``. Ends it.

    Raises OperatorError if it does not start, or does not stop cleanly.
    """
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "chatsys", "serve", "--host", "127.0.0.1", "--port", "0"]
    environ = os.environ | {
        "DATABASE_URL": database_url,
        "CHATSYS_ENV": "production",
        "JWT_SECRET": secrets.token_hex(32),
    }
    with (folder / LOG).open("wb") as log:
        child = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environ, cwd=folder)
        try:
            yield _address(child, folder / LOG), child.pid
        finally:
            _stop(child)


def _address(child: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + START_PATIENCE
    while time.monotonic() < deadline:
        found = _ADDRESS.search(log.read_text("utf-8", "replace"))
        if found:
            return found[1]
        if child.poll() is not None:
            break
        time.sleep(0.05)
    last = log.read_text("utf-8", "replace").strip().splitlines()[-1:]
    raise OperatorError(f"The server did not start: {' '.join(last) or 'it said nothing'}.", hint=f"See {log}.")


def _stop(child: subprocess.Popen[bytes]) -> None:
    child.terminate()
    try:
        child.wait(STOP_PATIENCE)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


class Watch(threading.Thread):
    """Appends a line a second to ``server.jsonl``: the server's CPU and memory, its metrics, the database's counters.

    Counters are as the server and PostgreSQL give them: cumulated. ``cpu`` is a share of a core, ``rss`` in bytes.
    """

    def __init__(self, address: str, pid: int, database_url: str | None, folder: Path) -> None:
        super().__init__(name="load-test-watch", daemon=True)
        self._metrics_url = address + "/metrics"
        self._process = psutil.Process(pid)
        self._database_url = database_url
        self._path = folder / SAMPLES
        self._done = threading.Event()
        self.trouble: list[str] = []

    def __enter__(self) -> Watch:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self.join()

    def run(self) -> None:
        """Sample until told to stop; what could not be read is said in ``trouble``."""
        with self._path.open("wb") as file:
            try:
                if self._database_url is None:
                    self._sample_all(file, None)
                else:
                    with psycopg.connect(self._database_url, autocommit=True) as connection:
                        self._sample_all(file, connection)
            except (psycopg.Error, psutil.Error, urllib.error.URLError, OSError, ValueError) as error:
                self.trouble.append(f"the counters ended early: {type(error).__name__}: {error}")

    def _sample_all(self, file: IO[bytes], connection: psycopg.Connection[Any] | None) -> None:
        self._process.cpu_percent()
        due = time.monotonic()
        while True:
            due += 1.0
            if self._done.wait(max(0.0, due - time.monotonic())):
                return
            file.write(msgspec.json.encode(self._sample(connection)) + b"\n")
            file.flush()

    def _sample(self, connection: psycopg.Connection[Any] | None) -> dict[str, Any]:
        line: dict[str, Any] = {
            "time": time.time(),
            "cpu": self._process.cpu_percent() / 100,
            "rss": self._process.memory_info().rss,
            "metrics": read_metrics(self._metrics_url),
        }
        if connection is not None:
            cursor = connection.execute(_COUNTERS)
            names = [column.name for column in cursor.description or ()]
            line["database"] = dict(zip(names, map(int, cursor.fetchone() or ()), strict=True))
        return line


def read_metrics(url: str) -> dict[str, float]:
    """The server's own metrics by name (labels in braces), without the buckets of histograms."""
    with urllib.request.urlopen(url, timeout=5) as response:  # noqa: S310 - our own child on this host
        text = response.read().decode()
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if not sample.name.endswith(("_bucket", "_created")):
                labels = ",".join(f"{key}={value}" for key, value in sorted(sample.labels.items()))
                found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found
