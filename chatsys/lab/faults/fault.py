"""What a fault is, and the table that faults enter themselves into."""

from __future__ import annotations

import enum
import os
import random
import shutil
import subprocess
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from chatsys.lab.faults.site import Site, SiteKind, faketime
from chatsys.lab.faults.traffic import SteadyTraffic


class Concern(enum.StrEnum):
    """Whom a fault concerns. All others must not notice a fault of a client or of a room."""

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


class Hit(NamedTuple):
    """What one injection has: the site, the traffic on it, random numbers of its own, and the seconds of its fault."""

    site: Site
    traffic: SteadyTraffic
    rng: random.Random
    seconds: float

    @property
    def room(self) -> str:
        """The room that a fault of one room concerns."""
        return self.traffic.rooms[0]


Inject = Callable[[Hit], Awaitable[None]]


class Fault(NamedTuple):
    """A fault: ``inject`` begins it, and returns when its cause has ended. ``promise`` is what users are told.

    ``place`` names the kind of site that it needs, ``seconds`` is about how long it takes, ``short`` says that it is
    part of the short form, ``spends`` that the site is of no further use after it, ``heavy`` that it needs the whole
    machine.
    """

    name: str
    concerns: Concern
    promise: str
    inject: Inject
    needs: tuple[Need, ...] = ()
    place: SiteKind = SiteKind.PLAIN
    seconds: float = 1.0
    short: bool = False
    spends: bool = False
    heavy: bool = False

    @property
    def alone(self) -> bool:
        """Whether nothing else may run beside it: latencies are judged, or it needs the whole machine."""
        return self.heavy or self.concerns in CONTAINED

    def lacking(self) -> list[Need]:
        """What it needs and this machine does not have."""
        return [need for need in self.needs if not _there(need)]


NODE_OPTIONS = ("--experimental-websocket", "--no-warnings")
FAULTS: dict[str, Fault] = {}
STAYS = "Nothing acknowledged is lost, and service is back within 5 s."
UNNOTICED = "Nobody else notices."


def fault(name: str, concerns: Concern, promise: str = STAYS, **options: Any) -> Callable[[Inject], Inject]:
    """Enter the function below as a fault; ``options`` are the fields of a fault that have defaults."""

    def enter(inject: Inject) -> Inject:
        FAULTS[name] = Fault(name, concerns, promise, inject, **options)
        return inject

    return enter


def _there(need: Need) -> bool:
    if need is Need.ROOT:
        return os.geteuid() == 0
    if need is Need.LIBFAKETIME:
        return faketime() is not None
    if need is Need.NODE:
        tried = ["node", *NODE_OPTIONS, "--eval", "WebSocket"]
        return (
            shutil.which("node") is not None and not subprocess.run(tried, check=False, capture_output=True).returncode
        )
    return shutil.which(need.value, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin") is not None
