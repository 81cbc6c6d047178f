"""Faults that kill, stop or suspend processes, or shift their clock."""

from __future__ import annotations

import asyncio
import signal
from functools import partial

from chatsys.errors import OperatorError
from chatsys.lab.faults.fault import Concern, Context, Need, fault
from chatsys.lab.faults.site import SiteKind


@fault("server killed and started again", Concern.SERVER, seconds=3, short=True)
async def server_killed(context: Context) -> None:
    """Send SIGKILL, which gives the server no time to clean up."""
    server = context.random_server()
    await server.stop(signal.SIGKILL)
    await server.start()


@fault("server stopped and started again", Concern.SERVER, "Exit status 0 within 10 s; nothing is lost.", seconds=4)
async def server_stopped(context: Context) -> None:
    """Send SIGTERM and check the exit status."""
    server = context.random_server()
    await server.stop(signal.SIGTERM, 10)
    status = server.status
    await server.start()
    if status != 0:
        raise OperatorError(f"After SIGTERM the server's exit status was {status}.")


@fault("every server stopped and started in turn", Concern.SERVER, "A rolling restart loses nothing.", seconds=8)
async def rolling_restart(context: Context) -> None:
    """Restart one server after the other, as an update does."""
    for server in context.site.servers:
        await server.stop(signal.SIGTERM, 10)
        await server.start()


async def _end_a_worker(context: Context, signum: signal.Signals) -> None:
    """Send a signal to one of two workers; the server starts another."""
    server = context.random_server()
    server.restarts += 1
    context.rng.choice(server.process.worker_processes()).send_signal(signum)


for _how, _signum in (("killed", signal.SIGKILL), ("stopped", signal.SIGTERM)):
    _inject = partial(_end_a_worker, signum=_signum)
    fault(f"a worker {_how}", Concern.SERVER, site_kind=SiteKind.WORKERS, seconds=2)(_inject)


async def _shift(context: Context, offset: str) -> None:
    """Shift the servers' clock for the seconds of the fault, then reset it."""
    context.site.set_clock(offset)
    try:
        await asyncio.sleep(context.seconds)
    finally:
        context.site.set_clock("+0")


for _way, _offset in (("forward", "+3600"), ("back", "-3600")):
    _name, _inject = f"servers' clock an hour {_way}", partial(_shift, offset=_offset)
    fault(_name, Concern.SERVER, needs=(Need.LIBFAKETIME,), site_kind=SiteKind.FAKED_CLOCK, seconds=4)(_inject)


async def _signal(context: Context, signum: signal.Signals) -> None:
    """Send a signal to the postmaster alone. A server must start its embedded PostgreSQL again."""
    context.site.postmaster().send_signal(signum)


async def _restart(context: Context, signum: signal.Signals) -> None:
    """Send a signal to the postmaster alone, wait until all processes have ended, and start PostgreSQL again."""
    await _signal(context, signum)
    await context.site.wait_for_database_end()
    await context.site.start_database()


for _how, _signum in (("killed", signal.SIGKILL), ("stopped", signal.SIGINT)):
    _inject = partial(_signal, signum=_signum)
    fault(f"the embedded postmaster {_how}", Concern.DATABASE, site_kind=SiteKind.EMBEDDED)(_inject)


@fault("the embedded postmaster asked to end", Concern.DATABASE, site_kind=SiteKind.EMBEDDED, seconds=4)
async def embedded_terminated(context: Context) -> None:
    """Send SIGTERM: PostgreSQL refuses connections and waits for the last session. The server must restart it."""
    context.site.postmaster().terminate()
    await context.site.wait_for_database_end()


@fault("PostgreSQL killed and started again", Concern.DATABASE, seconds=3, short=True)
async def postgres_killed(context: Context) -> None:
    """SIGKILL to all of its processes."""
    context.site.signal_database(signal.SIGKILL)
    await context.site.wait_for_database_end()
    await context.site.start_database()


@fault("PostgreSQL asked to end for 2 s, then restarted", Concern.DATABASE, seconds=4)
async def postgres_terminated(context: Context) -> None:
    """Send SIGTERM: PostgreSQL refuses connections and waits for the last session. Then restart it fast."""
    context.site.postmaster().terminate()
    await asyncio.sleep(2)
    await _restart(context, signal.SIGINT)


for _name, _signum in (
    ("PostgreSQL's postmaster killed and started again", signal.SIGKILL),
    ("PostgreSQL restarted, fast", signal.SIGINT),  # as ``pg_ctl restart`` does
    ("PostgreSQL restarted, immediate", signal.SIGQUIT),  # as ``pg_ctl restart -m immediate`` does
):
    fault(_name, Concern.DATABASE, seconds=3)(partial(_restart, signum=_signum))


_BACKENDS = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"


@fault("one backend of PostgreSQL killed", Concern.DATABASE, seconds=2)
async def backend_killed(context: Context) -> None:
    """Send SIGKILL to one backend; PostgreSQL then restarts all of them."""
    pids = {pid for (pid,) in await context.site.sql(_BACKENDS)}
    backends = [process for process in context.site.postgres() if process.pid in pids]
    if backends:
        context.rng.choice(backends).kill()


@fault("PostgreSQL hangs for 20 s", Concern.DATABASE, seconds=20)
@fault("PostgreSQL hangs for 5 s", Concern.DATABASE, seconds=5)
async def hangs(context: Context) -> None:
    """Send SIGSTOP to all of PostgreSQL's processes, then SIGCONT."""
    context.site.signal_database(signal.SIGSTOP)
    try:
        await asyncio.sleep(context.seconds)
    finally:
        context.site.signal_database(signal.SIGCONT)
