"""The combined metrics of all server processes on one port. Each process offers its own metrics on a Unix socket.

The sockets are in a folder that the first process creates and only its user can access.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

from prometheus_client import Metric, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from chatsys.web.health import Together, alone

WITHIN = 0.5
"""Seconds to wait for the metrics of another process. ``chatsys_processes`` counts the processes that answered."""

_GREATEST = frozenset({"chatsys_event_loop_lag_seconds"})
_THE_SAME = frozenset({"chatsys_sessions", "chatsys_rooms", "python_info"})
"""Metrics that are equal in all processes: those of the store, and Python's version."""


@contextlib.asynccontextmanager
async def siblings(folder: Path | None) -> AsyncIterator[Together]:
    """Offer this process's metrics in ``folder``, and combine them with those of the other processes there.

    Without a folder, there are no other processes.
    """
    if folder is None:
        yield alone
        return
    path = folder / str(os.getpid())
    server = await asyncio.start_unix_server(_send, path)
    try:
        yield lambda own: _together(own, folder, path)
    finally:
        server.close()
        with contextlib.suppress(OSError):
            path.unlink()
            folder.rmdir()  # empty only if the first process was killed and this is the last one


async def _send(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        writer.write(generate_latest())
        await writer.drain()
    writer.close()


async def _together(own: bytes, folder: Path, path: Path) -> bytes:
    others = [each for each in folder.iterdir() if each != path]
    found = await asyncio.gather(*map(_request, others))
    return generate_latest(_Sum([own, *filter(None, found)]))


async def _request(path: Path) -> bytes:
    """The metrics of another process; empty if it has ended or hangs."""
    try:
        async with asyncio.timeout(WITHIN):
            reader, writer = await asyncio.open_unix_connection(path)
            try:
                return await reader.read(-1)
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return b""


class _Sum(Collector):
    """Combines the metrics of several texts. Counts are summed."""

    def __init__(self, texts: Sequence[bytes]) -> None:
        self._texts = texts

    def collect(self) -> Iterator[Metric]:
        """Each metric family once, in the order of the first text."""
        families: dict[str, Metric] = {}
        values: dict[str, dict[tuple[str, tuple[tuple[str, str], ...]], float]] = {}
        for text in self._texts:
            for family in text_string_to_metric_families(text.decode()):
                families.setdefault(family.name, family)
                known = values.setdefault(family.name, {})
                for sample in family.samples:
                    key = (sample.name, tuple(sample.labels.items()))
                    known[key] = _joined(sample, known[key]) if key in known else sample.value
        for name, family in families.items():
            family.samples = [Sample(sample, dict(labels), value) for (sample, labels), value in values[name].items()]
            yield family


def _joined(sample: Sample, before: float) -> float:
    if sample.name in _THE_SAME:
        return before
    if sample.name in _GREATEST:
        return max(before, sample.value)
    if sample.name.endswith(("_created", "_start_time_seconds")):
        return min(before, sample.value)
    return before + sample.value
