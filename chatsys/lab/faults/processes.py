"""Processes that are killed, stopped and started again."""

from __future__ import annotations

import asyncio
import signal

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


def _end_a_worker(hit: Hit, number: signal.Signals) -> None:
    server = hit.rng.choice(hit.site.servers)
    server.restarts += 1
    hit.rng.choice(server.process.worker_processes()).send_signal(number)


@fault("a worker killed", Concern.SERVER, place=SiteKind.WORKERS, seconds=2)
async def worker_killed(hit: Hit) -> None:
    """SIGKILL to one of two workers; the server starts another."""
    _end_a_worker(hit, signal.SIGKILL)


@fault("a worker stopped", Concern.SERVER, place=SiteKind.WORKERS, seconds=2)
async def worker_stopped(hit: Hit) -> None:
    """SIGTERM to one of two workers; the server starts another."""
    _end_a_worker(hit, signal.SIGTERM)


@fault(
    "servers' clock an hour forward", Concern.SERVER, needs=(Need.LIBFAKETIME,), place=SiteKind.FAKED_CLOCK, seconds=4
)
async def clock_forward(hit: Hit) -> None:
    """For four seconds, then back."""
    await _shifted(hit, "+3600")


@fault("servers' clock an hour back", Concern.SERVER, needs=(Need.LIBFAKETIME,), place=SiteKind.FAKED_CLOCK, seconds=4)
async def clock_back(hit: Hit) -> None:
    """For four seconds, then forward again."""
    await _shifted(hit, "-3600")


async def _shifted(hit: Hit, offset: str) -> None:
    hit.site.set_clock(offset)
    try:
        await asyncio.sleep(4)
    finally:
        hit.site.set_clock("+0")


async def _restart(hit: Hit, number: signal.Signals) -> None:
    if number is signal.SIGKILL:
        hit.site.signal_database(number)
    else:
        hit.site.postmaster().send_signal(number)
    await hit.site.ended_database()
    await hit.site.start_database()


@fault("the embedded postmaster killed", Concern.DATABASE, place=SiteKind.EMBEDDED, seconds=1)
async def embedded_killed(hit: Hit) -> None:
    """SIGKILL to the postmaster alone; a server that uses it has to start it again."""
    hit.site.postmaster().kill()


@fault("the embedded postmaster stopped", Concern.DATABASE, place=SiteKind.EMBEDDED, seconds=1)
async def embedded_stopped(hit: Hit) -> None:
    """SIGINT, a clean end; a server that uses it has to start it again."""
    hit.site.postmaster().send_signal(signal.SIGINT)


@fault("the embedded postmaster asked to end", Concern.DATABASE, place=SiteKind.EMBEDDED, seconds=4)
async def embedded_asked(hit: Hit) -> None:
    """SIGTERM: it lets nobody in and waits for the last session, until a server that uses it loses patience."""
    hit.site.postmaster().terminate()
    await hit.site.ended_database()


@fault("PostgreSQL killed and started again", Concern.DATABASE, seconds=3, short=True)
async def postgres_killed(hit: Hit) -> None:
    """SIGKILL to all of its processes."""
    await _restart(hit, signal.SIGKILL)


@fault("PostgreSQL's postmaster killed and started again", Concern.DATABASE, seconds=3)
async def postmaster_killed(hit: Hit) -> None:
    """SIGKILL to the postmaster alone: the others notice and end."""
    hit.site.postmaster().kill()
    await hit.site.ended_database()
    await hit.site.start_database()


@fault("PostgreSQL asked to end for 2 s, then restarted", Concern.DATABASE, seconds=4)
async def postgres_asked(hit: Hit) -> None:
    """SIGTERM: it lets nobody in and waits for the last session; then as ``pg_ctl restart`` does."""
    hit.site.postmaster().terminate()
    await asyncio.sleep(2)
    await _restart(hit, signal.SIGINT)


@fault("PostgreSQL restarted, fast", Concern.DATABASE, seconds=3)
async def postgres_fast(hit: Hit) -> None:
    """As ``pg_ctl restart`` does."""
    await _restart(hit, signal.SIGINT)


@fault("PostgreSQL restarted, immediate", Concern.DATABASE, seconds=3)
async def postgres_immediate(hit: Hit) -> None:
    """As ``pg_ctl restart -m immediate`` does."""
    await _restart(hit, signal.SIGQUIT)


@fault("one backend of PostgreSQL killed", Concern.DATABASE, seconds=2)
async def backend_killed(hit: Hit) -> None:
    """SIGKILL to one backend: PostgreSQL then restarts all of them."""
    rows = await hit.site.sql(_BACKENDS)
    pids = [int(pid) for (pid,) in rows]
    for process in hit.site.postgres():
        if pids and process.pid == hit.rng.choice(pids):
            process.kill()
            return
    for process in hit.site.postgres():
        if process.pid in pids:
            process.kill()
            return


_BACKENDS = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"


async def _held(hit: Hit, seconds: float) -> None:
    hit.site.signal_database(signal.SIGSTOP)
    try:
        await asyncio.sleep(seconds)
    finally:
        hit.site.signal_database(signal.SIGCONT)


@fault("PostgreSQL hangs for 5 s", Concern.DATABASE, seconds=5)
async def hangs(hit: Hit) -> None:
    """SIGSTOP and SIGCONT."""
    await _held(hit, 5)


@fault("PostgreSQL hangs for 20 s", Concern.DATABASE, seconds=20)
async def hangs_long(hit: Hit) -> None:
    """SIGSTOP and SIGCONT."""
    await _held(hit, 20)
