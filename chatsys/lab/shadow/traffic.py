"""The second server's side: its calls one after another, and the events of both servers matched for each client."""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any

from chatsys.lab.shadow.findings import Findings
from chatsys.lab.shadow.twins import ABSENT, Difference, Twins, ids_in

CALLS_MOST = 10_000
"""Calls that may wait for the shadow; further ones are left out, and counted."""
CALL_WITHIN = 10.0
"""Seconds that one may take."""
KNOWN_WITHIN = 1.0
"""Seconds that a call waits for the shadow's own id of what the original has named."""
SETTLED_WITHIN, IMPATIENT = 0.25, 0.02
"""Seconds that the next call waits for the shadow to say what the original said; and after a wait that was in vain."""
WAITING_MOST = 1_000
"""Events of a kind that may wait for the other server's before they are compared as they came."""
ORIGINAL, SHADOW = 0, 1
NEWEST = 20
"""Of the events that may be merged so many are kept."""
ANSWER = "answer to "
"""How the name of an acknowledgement begins."""
MERGED = frozenset({"event room-users", "event user-typing", "event user-status-update"})
"""What says how something is now: a server may leave out what has changed again since (PROTOCOL §9.6, §9.8, §10.2)."""

Call = Callable[[], Awaitable[None]]


class MirroredTraffic:
    """Calls at the shadow, in the order in which clients made them at the original, who never waits for it."""

    def __init__(self) -> None:
        self.findings = Findings()
        self.twins = Twins()
        self._calls: asyncio.Queue[tuple[str, Call]] = asyncio.Queue(CALLS_MOST)
        self._unmatched: defaultdict[str, int] = defaultdict(int)  # ids of the original's that the shadow has not named
        self._patient = True
        self.news = asyncio.Event()
        """Something has come for which a call may wait."""

    def follow(self, what: str, call: Call) -> None:
        """Make a call at the shadow when those before it are done."""
        try:
            self._calls.put_nowait((what, call))
        except asyncio.QueueFull:
            self.findings.missed += 1

    async def run(self) -> None:
        """Make the calls, until cancelled. What goes wrong at the shadow is a difference."""
        while True:
            what, call = await self._calls.get()
            try:
                async with asyncio.timeout(CALL_WITHIN):
                    await call()
            except Exception as error:  # whatever the shadow does, the next call follows
                said = str(error) or type(error).__name__
                self.findings.judged(what, [Difference("the call", "answers", said)])
            finally:
                self._calls.task_done()

    async def caught_up(self, seconds: float) -> None:
        """Wait until the shadow has had all calls, for so many seconds at most; what is left then was missed."""
        waiting = asyncio.ensure_future(self._calls.join())
        await asyncio.wait([waiting], timeout=seconds)
        waiting.cancel()
        self.findings.missed += self._calls.qsize()

    async def translated(self, value: Any) -> Any:
        """A value as the shadow knows it: once it has named what the original's ids in it are."""
        ids = {each for each in ids_in(value) if not self.twins.knows(each)}
        if any(self._unmatched.get(each) for each in ids):
            within = KNOWN_WITHIN if self._patient else IMPATIENT
            self._patient = await self.until(lambda: not any(self._unmatched.get(each) for each in ids), within)
            for each in ids:  # nobody waits for it twice
                self._unmatched.pop(each, None)
        return self.twins.translated(value)

    async def until(self, happened: Callable[[], bool], seconds: float) -> bool:
        """Wait for what comes with the shadow's events, for so many seconds at most; whether it came."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not happened():
                    self.news.clear()
                    await self.news.wait()
        return happened()

    def expect(self, payload: Any) -> None:
        """The original has named these ids, and the shadow is going to."""
        for each in ids_in(payload):
            self._unmatched[each] += 1

    def found(self, payload: Any) -> None:
        """The shadow has named them, or never will."""
        for each in ids_in(payload) & self._unmatched.keys():
            self._unmatched[each] -= 1
            if not self._unmatched[each]:
                del self._unmatched[each]
        self.news.set()


class Stream:
    """What one client hears from both servers. An event waits until the other server has said the same."""

    def __init__(self, traffic: MirroredTraffic) -> None:
        self._traffic = traffic
        self._waiting: defaultdict[str, tuple[deque[Sequence[Any]], deque[Sequence[Any]]]] = defaultdict(
            lambda: (deque(), deque())
        )
        self._newest: defaultdict[str, tuple[deque[Sequence[Any]], deque[Sequence[Any]]]] = defaultdict(
            lambda: (deque(maxlen=NEWEST), deque(maxlen=NEWEST))
        )
        self._left = False
        self._late: set[int] = set()  # ids of what waits that the shadow said after the client had left the original
        self._patient = True

    def heard(self, side: int, what: str, arguments: Sequence[Any]) -> None:
        """The ORIGINAL or the SHADOW has said it."""
        if what in MERGED:
            self._newest[what][side].append(arguments)
            self._note(side, arguments)
            self._traffic.news.set()
            return
        others = self._waiting[what][1 - side]
        for place, other in enumerate(others):
            original, shadow = (arguments, other) if side == ORIGINAL else (other, arguments)
            if next(self._traffic.twins.differences(original, shadow), None) is None:
                del others[place]
                self._late.discard(id(other))
                self._matched(what, original, shadow, waited=side == SHADOW)
                return
        own = self._waiting[what][side]
        own.append(arguments)
        self._note(side, arguments)
        if side == ORIGINAL:
            self._traffic.expect(arguments)
        if len(own) > WAITING_MOST:
            self._judge(what)

    def _note(self, side: int, arguments: Sequence[Any]) -> None:
        if side == SHADOW and self._left:
            self._late.add(id(arguments))

    @property
    def settled(self) -> bool:
        """Whether the shadow has said all that the original said."""
        return not any(original for original, _ in self._waiting.values()) and all(
            shadow for original, shadow in self._newest.values() if original
        )

    async def settle(self) -> None:
        """Give the shadow time to say what the original said; less of it where it seems to say something else."""
        came = await self._traffic.until(lambda: self.settled, SETTLED_WITHIN if self._patient else IMPATIENT)
        self._patient = came

    def leave(self) -> None:
        """The client has left the original, which says nothing more to it. The shadow follows, and may."""
        self._left = True

    def close(self) -> None:
        """Nothing more comes: compare what is left in the order in which it came, and how things were last.

        When the client left, one server may have been a step ahead of the other.
        """
        for what, (original, shadow) in self._newest.items():
            if original or not self._late.issuperset(map(id, shadow)):
                self._traffic.findings.judged(what, self._differences_at_last(original, shadow))
        for what, sides in self._waiting.items():
            while any(sides):
                self._judge(what)

    def _judge(self, what: str) -> None:
        """Compare the oldest event of either server, which differ."""
        original, shadow = self._waiting[what]
        if original and shadow:
            self._matched(what, original.popleft(), shadow.popleft(), waited=True)
        elif original:
            said = original.popleft()
            self._traffic.found(said)
            self._traffic.findings.judged(what, [Difference("the event", said, ABSENT)])
        else:
            said = shadow.popleft()
            if id(said) not in self._late and not what.startswith(ANSWER):  # additions break no client
                self._traffic.findings.judged(what, [Difference("the event", ABSENT, said)])

    def _matched(self, what: str, original: Sequence[Any], shadow: Sequence[Any], *, waited: bool) -> None:
        self._traffic.twins.learn(original, shadow)
        if waited:
            self._traffic.found(original)
        self._traffic.findings.judged(what, self._traffic.twins.differences(original, shadow))

    def _differences_at_last(
        self, original: Sequence[Sequence[Any]], shadow: Sequence[Sequence[Any]]
    ) -> list[Difference]:
        """How the last of events differ, unless one server was only some events ahead of the other."""
        if not original or not shadow:
            return [Difference("the event", *(side[-1] if side else ABSENT for side in (original, shadow)))]
        ours, theirs = original[-1], shadow[-1]
        compare = self._traffic.twins.differences
        pairs = [*((each, theirs) for each in original), *((ours, each) for each in shadow)]
        if any(next(compare(*pair), None) is None for pair in pairs):
            return []
        return list(compare(ours, theirs))
