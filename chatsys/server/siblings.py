"""What the server processes of one port count, together: each tells its numbers to the others on a socket of its own.

The sockets lie in a folder that the first process makes, and that only its user can enter.
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
"""Seconds that another process gets to tell its numbers; ``chatsys_processes`` says how many did."""

_GREATEST = frozenset({"chatsys_event_loop_lag_seconds"})
_THE_SAME = frozenset({"chatsys_sessions", "chatsys_rooms", "python_info"})
"""What each process would answer alike: the store's numbers, and what Python it is."""


@contextlib.asynccontextmanager
async def siblings(folder: Path | None) -> AsyncIterator[Together]:
    """Tell the others in ``folder`` this process's numbers, and ask for theirs; without a folder there are none."""
    if folder is None:
        yield alone
        return
    path = folder / str(os.getpid())
    server = await asyncio.start_unix_server(_tell, path)
    try:
        yield lambda own: _together(own, folder, path)
    finally:
        server.close()
        with contextlib.suppress(OSError):
            path.unlink()
            folder.rmdir()  # the last one, if the first process was killed


async def _tell(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        writer.write(generate_latest())
        await writer.drain()
    writer.close()


async def _together(own: bytes, folder: Path, path: Path) -> bytes:
    others = [each for each in folder.iterdir() if each != path]
    found = await asyncio.gather(*map(_ask, others))
    return generate_latest(_Sum([own, *filter(None, found)]))


async def _ask(path: Path) -> bytes:
    """The numbers of another process; nothing of one that has ended or hangs."""
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
    """The families of several texts: counts are added up."""

    def __init__(self, texts: Sequence[bytes]) -> None:
        self._texts = texts

    def collect(self) -> Iterator[Metric]:
        """Each family once, as the first text orders them."""
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
