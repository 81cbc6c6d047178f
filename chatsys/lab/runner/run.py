"""A run, from its start to its record."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import msgspec

from chatsys.chat.bundle import new_id
from chatsys.database.embedded import embedded_postgres
from chatsys.errors import ChatsysError, OperatorError
from chatsys.lab.datasets.databases import alone_on, tidy
from chatsys.lab.experiments import EXPERIMENTS
from chatsys.lab.provenance import machine
from chatsys.lab.record import Result, Sampled
from chatsys.lab.runner.environment import DEPTHS, Environment, Experiment
from chatsys.lab.runner.profiles import Profile
from chatsys.lab.runner.targets import reach
from chatsys.results.claims import judge
from chatsys.results.names import STORES

Tell = Callable[[str, bool, int], None]
"""Shows progress: a text, whether a step has finished, and the total number of steps."""

LIMITATIONS = (
    "Client, server and database share one machine: no network lies between them, and they compete for its processors.",
    "Rows are synthetic and keys are drawn uniformly. Real chats are more skewed, so their caches hit more often.",
    "Everything fits in memory: reads from disk are not part of the latencies.",
    "The senders of a page were on earlier pages, as in a room that is read often, so the PostgreSQL store has cached"
    " their profiles. The first page after a profile changed looks them up again.",
    "Garbage collection is on in all measured processes, and off in the load generators.",
    "Calls at store depth do not pass through an endpoint. A client sees the http and socket depths.",
    "Intervals cover the rounds of this run. They do not cover what a process draws only once (hash seed, place in"
    " memory).",
    "A closed loop measures either the server or the load generator, whichever fills its processor. A figure counts as"
    " the server's if the generator used at most 90 % of its processor, or the server at least 90 %. With few senders"
    " neither fills its processor, and the generator's own time is part of the rate.",
)


class RunRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What to run. ``only`` has prefixes of names of operations and experiments; empty means all."""

    profile: Profile
    database_url: str | None
    data_dir: Path
    seed: int = 1
    only: Sequence[str] = ()
    stores: Sequence[str] = tuple(STORES)
    depths: Sequence[str] = DEPTHS


async def run(request: RunRequest, tell: Tell) -> tuple[Result, list[Sampled]]:
    """Perform the run. If it is cancelled, it returns the results so far, marked as partial."""
    chosen = _chosen(request)
    result = Result(
        id=new_id(),
        created_at=timestamp(),
        profile=request.profile.name,
        seed=request.seed,
        environment={},
        parameters=msgspec.to_builtins(request.profile),
        limitations=list(LIMITATIONS),
    )
    samples: list[Sampled] = []
    try:
        async with _server(request) as url:
            env = _environment(request, chosen, url, result, tell=tell)
            samples = env.samples
            try:
                await _perform(env, chosen)
            finally:
                tidy(url)
    except asyncio.CancelledError:
        result.partial = True
    result.targets = reach(result)
    result.claims = judge(result)
    result.finished_at = timestamp()
    return result, samples


def _environment(
    request: RunRequest, chosen: Sequence[Experiment], url: str, result: Result, *, tell: Tell
) -> Environment:
    result.environment = machine.describe(url, without_password(url))
    env = Environment(
        profile=request.profile,
        server_url=url,
        result=result,
        watch=machine.MachineWatch(machine.postmaster_of(url)),
        tell=lambda text, done: tell(text, done, total),
        data_dir=request.data_dir,
        only=request.only,
        stores=request.stores,
        depths=request.depths,
    )
    total = sum(experiment.steps(env) for experiment in chosen)
    return env


async def _perform(env: Environment, chosen: Sequence[Experiment]) -> None:
    for experiment in chosen:
        if not experiment.steps(env):
            continue
        try:
            with env.timed(experiment.name):
                await experiment.perform(env)
        except ChatsysError as error:
            env.result.invalid(f"{experiment.name}: {error.message}")


@asynccontextmanager
async def _server(request: RunRequest) -> AsyncIterator[str]:
    """A PostgreSQL server for this run alone: the configured one, or the private one, pinned to a processor."""
    if request.database_url and request.database_url.startswith(("postgresql://", "postgres://")):
        with alone_on(request.database_url):
            yield request.database_url
        return
    async with embedded_postgres(request.data_dir / "postgres") as url:
        with alone_on(url), machine.kept_to(machine.postmaster_of(url), machine.processors()[1]):
            yield url


def _chosen(request: RunRequest) -> list[Experiment]:
    known = [name for experiment in EXPERIMENTS for name in experiment.names]
    for prefix in request.only:
        if not any(name.startswith(prefix) for name in known):
            raise OperatorError(
                f"No operation or experiment begins with {prefix}, the value of --only.",
                hint=f"The names are {', '.join(known)}.",
            )
    only = tuple(request.only)
    return [e for e in EXPERIMENTS if not only or any(name.startswith(only) for name in e.names)]


def timestamp() -> str:
    """The current time in the format of records."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def without_password(url: str) -> str:
    """A URL without its password and its query."""
    parts = urlsplit(url)
    if parts.password is None:
        return urlunsplit(parts._replace(query=""))
    return urlunsplit(parts._replace(netloc=f"{parts.username}@{parts.netloc.rpartition('@')[2]}", query=""))
