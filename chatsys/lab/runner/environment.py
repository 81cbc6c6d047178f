"""The environment of a run: its settings, its selection of experiments, and its measurements so far."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from chatsys.lab.datasets.databases import database_with, empty_database
from chatsys.lab.datasets.synthetic import Synthetic
from chatsys.lab.provenance.machine import MachineWatch, processors
from chatsys.lab.record import Point, Result, Sampled, Timing
from chatsys.lab.runner.profiles import Profile
from chatsys.lab.statistics import Rounds, of_rounds, summary
from chatsys.lab.subjects.subject import SubjectProcess, subject_process
from chatsys.lab.subjects.worker import Opening
from chatsys.results.names import STORES

T = TypeVar("T")

DEPTHS = ("store", "http", "socket")


@dataclass(kw_only=True)
class Environment:
    """A run in progress. ``tell`` shows progress: a text, and whether a step has finished."""

    profile: Profile
    server_url: str
    result: Result
    watch: MachineWatch
    tell: Callable[[str, bool], None]
    data_dir: Path
    only: Sequence[str] = ()
    stores: Sequence[str] = tuple(STORES)
    depths: Sequence[str] = DEPTHS
    samples: list[Sampled] = field(default_factory=list)
    _urls: dict[str, str] = field(default_factory=dict)
    _loading: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def seed(self) -> int:
        """The run's seed."""
        return self.result.seed

    @property
    def rows(self) -> Synthetic:
        """The rows of the guide's table."""
        return Synthetic(self.profile.users, self.profile.messages, self.seed)

    def wants(self, *names: str) -> bool:
        """Whether a prefix in ``--only`` matches a name. Without ``--only``, whether the profile includes all names."""
        if not self.only:
            return not set(names) & set(self.profile.leave_out)
        return any(name.startswith(tuple(self.only)) for name in names)

    def disturbed(self) -> None:
        """Mark the run as invalid if other programs used the machine since the last call of ``watch.reasons()``."""
        for reason in self.watch.reasons():
            self.result.invalid(reason)

    def step(self, text: str) -> None:
        """Show that a step begins and the previous one has finished."""
        self.tell(text, True)

    @contextmanager
    def timed(self, what: str) -> Iterator[None]:
        """Record how long the block takes, so that a reader sees where the run spends its time."""
        began = time.monotonic()
        yield
        self.result.timings.append(Timing(what=what, seconds=round(time.monotonic() - began, 2)))

    def line(self, subjects: Iterable[T], rounds: int | None = None) -> list[tuple[int, T]]:
        """The order of repetitions with their rounds: A B C, C B A, …, for ``rounds`` or the profile's stretches."""
        order = list(subjects)
        numbers = range(rounds or self.profile.stretches)
        return [(number, subject) for number in numbers for subject in (order if number % 2 == 0 else order[::-1])]

    def keep(  # noqa: PLR0917 - the key of a sample
        self, experiment: str, operation: str, subject: str, size: int, number: int, taken: Any, depth: str = "socket"
    ) -> None:
        """Store the microseconds that the calls of a repetition took."""
        key = {"experiment": experiment, "operation": operation, "subject": subject, "depth": depth}
        self.samples.append(Sampled(**key, size=size, round=number, microseconds=np.array(taken)))

    def rounds(self, experiment: str, operation: str, subject: str, depth: str, size: int) -> Rounds:
        """The samples of one subject, by round."""
        wanted = (experiment, operation, subject, depth, size)
        return [
            s.microseconds for s in self.samples if (s.experiment, s.operation, s.subject, s.depth, s.size) == wanted
        ]

    def figure(  # noqa: PLR0917 - one figure of a curve
        self, experiment: str, subject: str, x: float, metric: str, value: float, unit: str, **more: Any
    ) -> None:
        """Record one figure. ``more`` are the other fields of a Point."""
        point = Point(experiment=experiment, subject=subject, x=x, metric=metric, value=value, unit=unit, **more)
        self.result.points.append(point)

    def point(  # noqa: PLR0917 - one figure of a curve
        self,
        experiment: str,
        subject: str,
        x: float,
        metric: str,
        values: Sequence[float],
        unit: str,
        *,
        lower_bound: bool = False,
        difference: bool = False,
    ) -> None:
        """Record one figure, from one value per round. A ``difference`` may be negative."""
        value, interval = of_rounds(values, geometric=not difference)
        more = {"interval": interval, "n": len(values), "rounds": tuple(values), "lower_bound": lower_bound}
        self.figure(experiment, subject, x, metric, value, unit, **more)

    def quantiles(
        self, experiment: str, subject: str, x: float, rounds: Rounds, metrics: Sequence[str] = ("p50",)
    ) -> None:
        """Record quantiles of all samples together, and the interval of their median."""
        found = summary(rounds, self.seed)
        for metric in metrics:
            interval = found.interval if metric == "p50" else None
            value: float = getattr(found, f"{metric}_us")
            self.figure(experiment, subject, x, metric, value, "µs", interval=interval, n=found.n)

    def database(self, rows: Synthetic, purpose: str = "run") -> str:
        """The URL of a database with ``rows``. Each run has one per ``purpose``, which keeps what is written to it."""
        name = f"chatsys_lab_{purpose}_{rows.users}_{rows.messages}"
        if name not in self._urls:
            self._urls[name] = database_with(self.server_url, name, rows, lambda text: self.tell(text, False))
        return self._urls[name]

    def empty(self, store: str, purpose: str) -> str:
        """The URL of an empty store. On PostgreSQL it is a new database named after ``purpose``."""
        return "memory://" if store == "memory" else empty_database(self.server_url, f"chatsys_lab_{purpose}")

    @asynccontextmanager
    async def opened(
        self, store: str, rows: Synthetic, *, kind: str = "store", purpose: str = "run", synchronous_commit: str = "on"
    ) -> AsyncIterator[SubjectProcess]:
        """A subject with ``rows``. ``store`` is its name in the record, ``kind`` as in worker.Opening.

        A thread loads the database, so that stores in memory can be filled at the same time.
        """
        url = "memory://"
        if not (store.startswith("memory") or kind == "python"):
            async with self._loading:
                url = await asyncio.to_thread(self.database, rows, purpose)
        opening = Opening(
            kind=kind,
            users=rows.users,
            messages=rows.messages,
            seed=self.seed,
            url=url,
            synchronous_commit=synchronous_commit,
            cpu=processors()[0],
        )
        async with subject_process(store, opening) as subject:
            yield subject


async def enter_all(stack: AsyncExitStack, contexts: Sequence[AbstractAsyncContextManager[T]]) -> list[T]:
    """Enter contexts concurrently; ``stack`` exits them. Raises the first error after all have been tried."""
    found = await asyncio.gather(*map(stack.enter_async_context, contexts), return_exceptions=True)
    entered: list[T] = []
    for each in found:
        if isinstance(each, BaseException):
            raise each
        entered.append(each)
    return entered


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """An experiment. ``--only`` accepts its ``names``; ``steps`` is the number of steps that it will show.

    ``perform`` is called only if there are any.
    """

    name: str
    names: Sequence[str]
    steps: Callable[[Environment], int]
    perform: Callable[[Environment], Awaitable[None]]
