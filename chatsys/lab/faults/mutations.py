"""Remove one mechanism of the server after the other, and inject the fault that should detect its absence.

A mechanism whose removal no fault detects is either not needed or not tested.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from chatsys.lab.faults.fault import FAULTS, matches
from chatsys.lab.faults.injection import Load, inject
from chatsys.lab.faults.page import shortcomings
from chatsys.lab.faults.patches import VARIABLE
from chatsys.lab.faults.record import Caught, FaultKind, FaultsResult, save
from chatsys.lab.faults.site import Site

FOLDER = Path(__file__).parent / "mutated"
ATTEMPTS = 3


_SECONDS, _TENTHS = r"others' p99 \d{4,} ms", r"others' p99 \d{3,} ms"
"""Delays of seconds, or of tenths of a second. A busy machine alone does not cause them."""


class Mutation(NamedTuple):
    """A mechanism, the fault that should detect its absence, and the patch or the settings that remove it.

    ``sign`` is a regular expression. A broken promise counts only if its text matches, because others may be noise.
    """

    mechanism: str
    fault: str
    sign: str
    patch: str = ""
    settings: tuple[tuple[str, str], ...] = ()


MUTATIONS = (
    Mutation(
        "a message sent again is recognised by its id",
        "answer of a commit lost: send",
        "stored twice|not acknowledged",
        "repeated sends",
    ),
    Mutation(
        "nothing is shown before it is stored",
        "every server cut from the database for 1 s",
        "altered|renumbered",
        "publish after commit",
    ),
    Mutation(
        "a gap in the numbers is read from the store", "one server cut from the database for 1 s", "dropped", "gaps"
    ),
    Mutation("what waits for a locked row waits alone", "a room locked for 6 s", _SECONDS, "locked rows"),
    Mutation("writes pass a slow flush whose rows they do not need", "a room locked for 6 s", "p99", "slow flushes"),
    Mutation(
        "statements have a deadline on the client's side",
        "old connections silent for ever",
        "back only|did not come back|answered only",
        "client-side deadline",
    ),
    Mutation(
        "an acknowledgement waits until the message is on disk",
        "PostgreSQL killed and started again",
        "not stored",
        settings=(("CHATSYS_SYNCHRONOUS_COMMIT", "off"),),
    ),
    Mutation(
        "what a connection has begun and not finished counts against its byte budget",
        "20 sockets with nine of ten attachments",
        "MiB taken",
        settings=(("CHATSYS_SEND_BUFFER_BYTES", "1073741824"),),
    ),
    Mutation(
        "a connection has a number of frames in each iteration of the event loop",
        "flood: unknown events",
        _TENTHS,
        settings=(("CHATSYS_FRAMES_PER_ITERATION", "100000"),),
    ),
    Mutation(
        "a server sends itself a token over the bus",
        "Redis pushes nothing to old connections, and answers",
        "dropped|not everything",
        "bus token",
    ),
    Mutation(
        "a session that may have been opened is closed", "answer of a commit lost: join", "ghosts", "uncertain sessions"
    ),
    Mutation("a dead server's sessions are ended", "server killed and started again", "ghosts", "dead servers"),
    Mutation(
        "the embedded PostgreSQL is started again", "the embedded postmaster killed", "did not come back", "embedded"
    ),
)


async def perform(result: FaultsResult, folder: Path, say: Callable[[str], None], only: str = "") -> None:
    """Try the mutations that the result lacks and whose mechanisms match ``only``."""
    known = {each.mechanism for each in result.mutations}
    for mutation in MUTATIONS:
        if mutation.mechanism not in known and matches(mutation.mechanism, only):
            caught = await attempt(mutation)
            result.mutations.append(caught)
            save(result, folder)
            say(f"removed: {mutation.mechanism}: detected: {caught.noticed or 'nothing'}")


async def attempt(mutation: Mutation, attempts: int = ATTEMPTS) -> Caught:
    """Try a mutation until its sign appears without the mechanism and not with it, or ``attempts`` have failed."""
    sign = re.compile(mutation.sign)
    noticed = intact = ""
    for seed in range(1, attempts + 1):
        intact = "; ".join(await _shortcomings(mutation, seed, removed=False))
        if sign.search(intact):
            continue
        without = await _shortcomings(mutation, seed, removed=True)
        noticed = "; ".join(text for text in without if sign.search(text))
        if noticed:
            break
    return Caught(mechanism=mutation.mechanism, fault=mutation.fault, noticed=noticed, intact=intact)


async def _shortcomings(mutation: Mutation, seed: int, *, removed: bool) -> list[str]:
    """The promises that the fault breaks, with the mechanism in place or ``removed``."""
    fault = FAULTS[mutation.fault]
    settings = dict(mutation.settings) | ({VARIABLE: mutation.patch} if mutation.patch else {})
    async with Site(
        kind=fault.site_kind,
        settings=settings if removed else {},
        import_first=(FOLDER,) if removed and mutation.patch else (),
    ) as site:
        run = await inject(site, fault, [seed], Load())
    return shortcomings(FaultKind(name=fault.name, concerns=fault.concerns, promise=fault.promise, runs=[run]))
