"""Takes one mechanism after the other away, and injects the fault that should notice.

A mechanism whose removal no fault notices is either not needed or not tested.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from chatsys.lab.faults.fault import FAULTS
from chatsys.lab.faults.injection import Load, inject
from chatsys.lab.faults.page import shortcomings
from chatsys.lab.faults.patches import VARIABLE
from chatsys.lab.faults.record import Caught, Kind, Result, save
from chatsys.lab.faults.site import Site

FOLDER = Path(__file__).parent / "mutated"
TRIES = 3


class Mutation(NamedTuple):
    """A mechanism, the fault that should notice its absence, and the patch or the settings that take it away."""

    mechanism: str
    fault: str
    patch: str = ""
    settings: tuple[tuple[str, str], ...] = ()


MUTATIONS = (
    Mutation("a message sent again is recognised by its id", "answer of a commit lost: send", "repeated sends"),
    Mutation(
        "nothing is shown before it is stored", "every server cut from the database for 1 s", "publish after commit"
    ),
    Mutation("a gap in the numbers is read from the store", "one server cut from the database for 1 s", "gaps"),
    Mutation("what waits for a locked row waits alone", "a room locked for 6 s", "locked rows"),
    Mutation(
        "statements have a deadline on the client's side", "old connections silent for ever", "client-side deadline"
    ),
    Mutation(
        "an acknowledgement waits until the message is on disk",
        "PostgreSQL killed and started again",
        settings=(("CHATSYS_SYNCHRONOUS_COMMIT", "off"),),
    ),
    Mutation(
        "what a connection has begun and not finished counts against its byte budget",
        "20 sockets with nine of ten attachments",
        settings=(("CHATSYS_SEND_BUFFER_BYTES", "1073741824"),),
    ),
    Mutation(
        "a connection has a number of frames in each turn of the event loop",
        "flood: unknown events",
        settings=(("CHATSYS_FRAMES_PER_TURN", "100000"),),
    ),
    Mutation("a server sends itself a token over the bus", "connections to NATS half open", "bus token"),
    Mutation("a session that may have been opened is closed", "answer of a commit lost: join", "uncertain sessions"),
    Mutation("a dead server's sessions are ended", "server killed and started again", "dead servers"),
    Mutation("the embedded PostgreSQL is started again", "the embedded postmaster killed", "embedded"),
)


async def perform(result: Result, folder: Path, say: Callable[[str], None]) -> None:
    """Try those that the result lacks."""
    known = {each.mechanism for each in result.mutations}
    for mutation in MUTATIONS:
        if mutation.mechanism not in known:
            caught = Caught(mechanism=mutation.mechanism, fault=mutation.fault, noticed=await noticed(mutation))
            result.mutations.append(caught)
            save(result, folder)
            say(f"without: {mutation.mechanism}: {caught.noticed or 'nothing noticed it'}")


async def noticed(mutation: Mutation, tries: int = TRIES) -> str:
    """What fell short without the mechanism and does not with it; empty if nothing did in any of the ``tries``."""
    for seed in range(1, tries + 1):
        with_it = set(map(_sort, await _fell_short(mutation, seed, taken=False)))
        without = [said for said in await _fell_short(mutation, seed, taken=True) if _sort(said) not in with_it]
        if without:
            return "; ".join(without)
    return ""


async def _fell_short(mutation: Mutation, seed: int, *, taken: bool) -> list[str]:
    fault = FAULTS[mutation.fault]
    settings = dict(mutation.settings) | ({VARIABLE: mutation.patch} if mutation.patch else {})
    async with Site(
        place=fault.place, settings=settings if taken else {}, first=(FOLDER,) if taken and mutation.patch else ()
    ) as site:
        run = await inject(site, fault, [seed], Load())
    return shortcomings(Kind(name=fault.name, concerns=fault.concerns, promise=fault.promise, runs=[run]))


def _sort(said: str) -> str:
    """What a shortcoming is about, without its figures."""
    return "".join(letter for letter in said if not letter.isdigit() and letter != ".")
