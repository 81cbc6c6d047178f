"""Processes that are killed, stopped and started again."""

from __future__ import annotations

import asyncio
import signal
from functools import partial

from chatsys.errors import OperatorError
from chatsys.lab.faults.fault import Concern, Hit, Need, fault
from chatsys.lab.faults.site import SiteKind


@fault("server killed and started again", Concern.SERVER, seconds=3, short=True)
async def server_killed(hit: Hit) -> None:
    """SIGKILL, as a power cut would."""
    server = hit.rng.choice(hit.site.servers)
    await server.stop(signal.SIGKILL)
    await server.start()


@fault("server stopped and started again", Concern.SERVER, "Exit status 0 within 10 s; nothing is lost.", seconds=4)
async def server_stopped(hit: Hit) -> None:
    """SIGTERM."""
    server = hit.rng.choice(hit.site.servers)
    await server.stop(signal.SIGTERM, 10)
    status = server.status
    await server.start()
    if status != 0:
        raise OperatorError(f"After SIGTERM the server's exit status was {status}.")


@fault("every server stopped and started in turn", Concern.SERVER, "A rolling restart loses nothing.", seconds=8)
async def rolling_restart(hit: Hit) -> None:
    """What an update does."""
    for server in hit.site.servers:
        await server.stop(signal.SIGTERM, 10)
        await server.start()


async def _end_a_worker(hit: Hit, number: signal.Signals) -> None:
    """A signal to one of two workers; the server starts another."""
    server = hit.rng.choice(hit.site.servers)
    server.restarts += 1
    hit.rng.choice(server.process.worker_processes()).send_signal(number)


for _how, _number in (("killed", signal.SIGKILL), ("stopped", signal.SIGTERM)):
    _inject = partial(_end_a_worker, number=_number)
    fault(f"a worker {_how}", Concern.SERVER, place=SiteKind.WORKERS, seconds=2)(_inject)


async def _shift(hit: Hit, offset: str) -> None:
    """For four seconds, then back again."""
    hit.site.set_clock(offset)
    try:
        await asyncio.sleep(hit.seconds)
    finally:
        hit.site.set_clock("+0")


for _way, _offset in (("forward", "+3600"), ("back", "-3600")):
    _name, _inject = f"servers' clock an hour {_way}", partial(_shift, offset=_offset)
    fault(_name, Concern.SERVER, needs=(Need.LIBFAKETIME,), place=SiteKind.FAKED_CLOCK, seconds=4)(_inject)


async def _signal(hit: Hit, number: signal.Signals) -> None:
    """A signal to the postmaster alone; a server that uses an embedded one has to start it again."""
    hit.site.postmaster().send_signal(number)


async def _restart(hit: Hit, number: signal.Signals) -> None:
    """A signal to the postmaster alone: the other processes notice and end. Then PostgreSQL is started again."""
    await _signal(hit, number)
    await hit.site.ended_database()
    await hit.site.start_database()


for _how, _number in (("killed", signal.SIGKILL), ("stopped", signal.SIGINT)):
    _inject = partial(_signal, number=_number)
    fault(f"the embedded postmaster {_how}", Concern.DATABASE, place=SiteKind.EMBEDDED)(_inject)


@fault("the embedded postmaster asked to end", Concern.DATABASE, place=SiteKind.EMBEDDED, seconds=4)
async def embedded_terminated(hit: Hit) -> None:
    """SIGTERM: it lets nobody in and waits for the last session, until a server that uses it loses patience."""
    hit.site.postmaster().terminate()
    await hit.site.ended_database()


@fault("PostgreSQL killed and started again", Concern.DATABASE, seconds=3, short=True)
async def postgres_killed(hit: Hit) -> None:
    """SIGKILL to all of its processes."""
    hit.site.signal_database(signal.SIGKILL)
    await hit.site.ended_database()
    await hit.site.start_database()


@fault("PostgreSQL asked to end for 2 s, then restarted", Concern.DATABASE, seconds=4)
async def postgres_terminated(hit: Hit) -> None:
    """SIGTERM: it lets nobody in and waits for the last session; then as ``pg_ctl restart`` does."""
    hit.site.postmaster().terminate()
    await asyncio.sleep(2)
    await _restart(hit, signal.SIGINT)


for _name, _number in (
    ("PostgreSQL's postmaster killed and started again", signal.SIGKILL),
    ("PostgreSQL restarted, fast", signal.SIGINT),  # as ``pg_ctl restart`` does
    ("PostgreSQL restarted, immediate", signal.SIGQUIT),  # as ``pg_ctl restart -m immediate`` does
):
    fault(_name, Concern.DATABASE, seconds=3)(partial(_restart, number=_number))


_BACKENDS = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"


@fault("one backend of PostgreSQL killed", Concern.DATABASE, seconds=2)
async def backend_killed(hit: Hit) -> None:
    """SIGKILL to one backend: PostgreSQL then restarts all of them."""
    pids = {pid for (pid,) in await hit.site.sql(_BACKENDS)}
    backends = [process for process in hit.site.postgres() if process.pid in pids]
    if backends:
        hit.rng.choice(backends).kill()


@fault("PostgreSQL hangs for 20 s", Concern.DATABASE, seconds=20)
@fault("PostgreSQL hangs for 5 s", Concern.DATABASE, seconds=5)
async def hangs(hit: Hit) -> None:
    """SIGSTOP and SIGCONT."""
    hit.site.signal_database(signal.SIGSTOP)
    try:
        await asyncio.sleep(hit.seconds)
    finally:
        hit.site.signal_database(signal.SIGCONT)
