"""Takes one mechanism after the other away, and injects the fault that should notice.

A mechanism whose removal no fault notices is either not needed or not tested.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from chatsys.lab.faults.fault import FAULTS
from chatsys.lab.faults.injection import Load, inject
from chatsys.lab.faults.page import shortcomings
from chatsys.lab.faults.patches import VARIABLE
from chatsys.lab.faults.record import Caught, FaultKind, FaultsResult, save
from chatsys.lab.faults.site import Site

FOLDER = Path(__file__).parent / "mutated"
TRIES = 3


_SECONDS, _TENTHS = r"others' p99 \d{4,} ms", r"others' p99 \d{3,} ms"
"""More than a busy machine does by itself."""


class Mutation(NamedTuple):
    """A mechanism, the fault that should notice its absence, and the patch or the settings that take it away.

    ``sign`` is what a shortcoming must say to be the mechanism's: any other may be noise.
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
    """Try those that the result lacks, and of them those whose mechanism contains one of the words of ``only``."""
    known = {each.mechanism for each in result.mutations}
    words = [word.strip() for word in only.split(",")]
    for mutation in MUTATIONS:
        if mutation.mechanism not in known and any(word in mutation.mechanism for word in words):
            caught = await tried(mutation)
            result.mutations.append(caught)
            save(result, folder)
            say(f"without: {mutation.mechanism}: {caught.noticed or 'nothing noticed it'}")


async def tried(mutation: Mutation, tries: int = TRIES) -> Caught:
    """The mutation's sign must be seen without the mechanism and not with it, in one of the ``tries``."""
    sign = re.compile(mutation.sign)
    noticed = intact = ""
    for seed in range(1, tries + 1):
        intact = "; ".join(await _fell_short(mutation, seed, taken=False))
        if sign.search(intact):
            continue
        without = await _fell_short(mutation, seed, taken=True)
        noticed = "; ".join(said for said in without if sign.search(said))
        if noticed:
            break
    return Caught(mechanism=mutation.mechanism, fault=mutation.fault, noticed=noticed, intact=intact)


async def _fell_short(mutation: Mutation, seed: int, *, taken: bool) -> list[str]:
    fault = FAULTS[mutation.fault]
    settings = dict(mutation.settings) | ({VARIABLE: mutation.patch} if mutation.patch else {})
    async with Site(
        place=fault.place, settings=settings if taken else {}, first=(FOLDER,) if taken and mutation.patch else ()
    ) as site:
        run = await inject(site, fault, [seed], Load())
    return shortcomings(FaultKind(name=fault.name, concerns=fault.concerns, promise=fault.promise, runs=[run]))
