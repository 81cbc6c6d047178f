"""What a fault is, and the table in which faults are registered."""

from __future__ import annotations

import enum
import os
import random
import shutil
import subprocess
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from chatsys.lab.faults.site import Site, SiteKind, SiteServer, faketime
from chatsys.lab.faults.traffic import SteadyTraffic


class Concern(enum.StrEnum):
    """Who or what a fault concerns. A fault of one client or one room must not affect anybody else."""

    CLIENT = "one client"
    ROOM = "one room"
    SERVER = "one server"
    DATABASE = "the database"
    BUS = "the bus"


CONTAINED = {Concern.CLIENT, Concern.ROOM}


class Need(enum.StrEnum):
    """What a fault needs from the machine."""

    ROOT = "root"
    IPTABLES = "iptables"
    REDIS = "redis-server"
    NATS = "nats-server"
    NODE = "Node.js 20.10"
    LIBFAKETIME = "libfaketime"


class Context(NamedTuple):
    """What a fault gets for one injection: the site, its traffic, a random generator, and the seconds of the fault."""

    site: Site
    traffic: SteadyTraffic
    rng: random.Random
    seconds: float

    @property
    def room(self) -> str:
        """The room that a fault of one room concerns."""
        return self.traffic.rooms[0]

    def random_server(self) -> SiteServer:
        """One of the site's servers."""
        return self.rng.choice(self.site.servers)


Inject = Callable[[Context], Awaitable[None]]


class Fault(NamedTuple):
    """A fault. ``inject`` starts it and returns when its cause has ended. ``promise`` is what users can rely on.

    The fault needs a site of ``site_kind`` and takes about ``seconds``. ``short`` is true if it belongs to the short
    form, ``spoils_site`` if its site can't be used again, and ``heavy`` if it needs the whole machine.
    """

    name: str
    concerns: Concern
    promise: str
    inject: Inject
    needs: tuple[Need, ...] = ()
    site_kind: SiteKind = SiteKind.PLAIN
    seconds: float = 1.0
    short: bool = False
    spoils_site: bool = False
    heavy: bool = False

    @property
    def alone(self) -> bool:
        """Whether nothing else may run at the same time: its latencies are judged, or it needs the whole machine."""
        return self.heavy or self.concerns in CONTAINED

    def lacking(self) -> list[Need]:
        """What the fault needs and this machine does not have."""
        return [need for need in self.needs if not _available(need)]


NODE_OPTIONS = ("--experimental-websocket", "--no-warnings")
FAULTS: dict[str, Fault] = {}
STAYS = "Nothing acknowledged is lost, and service is back within 5 s."
UNNOTICED = "Nobody else notices."


def fault(name: str, concerns: Concern, promise: str = STAYS, **options: Any) -> Callable[[Inject], Inject]:
    """Register the decorated function as a fault. ``options`` are the fields of :class:`Fault` that have defaults."""

    def register(inject: Inject) -> Inject:
        FAULTS[name] = Fault(name, concerns, promise, inject, **options)
        return inject

    return register


def matches(name: str, words: str) -> bool:
    """Whether ``name`` contains one of the comma-separated ``words``. Without words, every name matches."""
    wanted = [word.strip() for word in words.split(",") if word.strip()]
    return not wanted or any(word in name for word in wanted)


def _available(need: Need) -> bool:
    if need is Need.ROOT:
        return os.geteuid() == 0
    if need is Need.LIBFAKETIME:
        return faketime() is not None
    if need is Need.NODE:
        command = ["node", *NODE_OPTIONS, "--eval", "WebSocket"]  # older versions have no WebSocket
        return (
            shutil.which("node") is not None
            and not subprocess.run(command, check=False, capture_output=True).returncode
        )
    return shutil.which(need.value, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin") is not None
