"""Counters during a load test, each second: the server's CPU, memory and metrics, and PostgreSQL's counters."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import IO, Any

import msgspec
import psutil
import psycopg
from prometheus_client.parser import text_string_to_metric_families

from chatsys.client.requests import request
from chatsys.lab.provenance.machine import MachineWatch, processor_seconds
from chatsys.lab.subjects.servers import ServerProcess

SAMPLES = "server.jsonl"
_COUNTERS = """
SELECT d.xact_commit, d.xact_rollback, d.tup_inserted, d.tup_updated, d.blks_read, d.blks_hit, d.temp_files,
       pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint AS wal_bytes,
       (SELECT count(*) FROM pg_stat_activity a WHERE a.datname = d.datname AND a.state <> 'idle') AS busy_backends
FROM pg_stat_database d WHERE d.datname = current_database()
"""


class ServerCounters(threading.Thread):
    """Append a line per second to ``server.jsonl``: the server's CPU and memory, its metrics, the database's counters.

    For a server that chatsys did not start (None) there are only the database's counters.

    Counters are cumulative, as the server and PostgreSQL report them. ``cpu`` is a share of a core, ``rss`` is in
    bytes. ``database_cpu`` is that of PostgreSQL's processes; it is 0 if they are on another machine.
    """

    def __init__(
        self, server: ServerProcess | None, database_url: str | None, folder: Path, watch: MachineWatch
    ) -> None:
        super().__init__(name="load-test-counters", daemon=True)
        self._server = server
        self._watch = watch
        self._database_url = database_url
        self._path = folder / SAMPLES
        self._done = threading.Event()
        self.trouble: list[str] = []

    def __enter__(self) -> ServerCounters:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self.join()

    def run(self) -> None:
        """Sample until the block ends. ``trouble`` says why sampling ended early."""
        with self._path.open("wb") as file:
            try:
                if self._database_url is None:
                    self._sample_all(file, None)
                else:
                    with psycopg.connect(self._database_url, autocommit=True) as connection:
                        self._sample_all(file, connection)
            except (psycopg.Error, psutil.Error, OSError, ValueError) as error:
                self.trouble.append(f"the counters ended early: {type(error).__name__}: {error}")

    def _sample_all(self, file: IO[bytes], connection: psycopg.Connection[Any] | None) -> None:
        due = at = time.monotonic()
        used, stored = self._server_seconds(), self._database_seconds()
        while True:
            due += 1.0
            if self._done.wait(max(0.0, due - time.monotonic())):
                return
            at_now, used_now = time.monotonic(), self._server_seconds()
            stored_now = self._database_seconds()
            line = self._sample((used_now - used) / (at_now - at), connection)
            line["database_cpu"] = round(max(0.0, stored_now - stored) / (at_now - at), 3)
            at, used, stored = at_now, used_now, stored_now
            file.write(msgspec.json.encode(line) + b"\n")
            file.flush()

    def _server_seconds(self) -> float:
        return 0.0 if self._server is None else self._server.cpu_seconds

    def _database_seconds(self) -> float:
        return 0.0 if self._watch.postmaster is None else processor_seconds(self._watch.postmaster)

    def _sample(self, cpu: float, connection: psycopg.Connection[Any] | None) -> dict[str, Any]:
        line: dict[str, Any] = {"time": time.time()}
        if self._server is not None:
            line |= {
                "cpu": round(cpu, 3),
                "rss": self._server.resident_bytes,
                "metrics": read_metrics(self._server.url),
            }
        if connection is not None:
            cursor = connection.execute(_COUNTERS)
            names = [column.name for column in cursor.description or ()]
            line["database"] = dict(zip(names, map(int, cursor.fetchone() or ()), strict=True))
        return line


def read_metrics(url: str) -> dict[str, float]:
    """The server's metrics by name (labels in braces), without the buckets of histograms. Raises OSError."""
    status, content = request(url, "GET", "/metrics", timeout=5)
    if status != 200:
        raise OSError(f"GET /metrics answered {status}")
    found = {}
    for family in text_string_to_metric_families(content.decode()):
        for sample in family.samples:
            if not sample.name.endswith(("_bucket", "_created")):
                labels = ",".join(f"{key}={value}" for key, value in sorted(sample.labels.items()))
                found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found
