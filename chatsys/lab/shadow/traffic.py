"""The calls to the shadow, one after another, and the matching of both servers' events for each client."""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any

from chatsys.lab.shadow.findings import Findings
from chatsys.lab.shadow.twins import ABSENT, Difference, Twins, ids_in

CALLS_MOST = 10_000
"""Maximum number of calls that wait for the shadow. Further ones are dropped and counted."""
CALL_WITHIN = 10.0
"""Time limit of a call in seconds."""
KNOWN_WITHIN = 1.0
"""Seconds that a call waits for the shadow's id of an object whose id the original has sent."""
SETTLED_WITHIN, IMPATIENT = 0.25, 0.02
"""Seconds that the next call waits for the shadow to send the same events as the original; and after a failed wait."""
WAITING_MOST = 1_000
"""Maximum number of events of one kind that wait for their match. Beyond it, the oldest ones are compared."""
ORIGINAL, SHADOW = 0, 1
NEWEST = 20
"""Number of events kept of each kind in ``MERGED``."""
ANSWER = "answer to "
"""Prefix of the name of an acknowledgement."""
MERGED = frozenset({"event room-users", "event user-typing", "event user-status-update"})
"""Events that describe a state. A server may skip a state that has changed again (PROTOCOL §9.6, §9.8, §10.2)."""

Call = Callable[[], Awaitable[None]]
Sides = tuple[deque[Sequence[Any]], deque[Sequence[Any]]]
"""Events of one kind: the original's and the shadow's."""


class MirroredTraffic:
    """Calls to the shadow, in the order of the clients' calls to the original. The original never waits for them."""

    def __init__(self) -> None:
        self.findings = Findings()
        self.twins = Twins()
        self._calls: asyncio.Queue[tuple[str, Call]] = asyncio.Queue(CALLS_MOST)
        self._unmatched: defaultdict[str, int] = defaultdict(int)  # ids of the original whose twin is not known
        self._patient = True
        self.news = asyncio.Event()
        """Set when something arrives that a call may wait for."""

    def follow(self, what: str, call: Call) -> None:
        """Queue a call to the shadow; it runs when the calls before it are done."""
        try:
            self._calls.put_nowait((what, call))
        except asyncio.QueueFull:
            self.findings.missed += 1

    async def run(self) -> None:
        """Make the calls until cancelled. An error of the shadow counts as a difference."""
        while True:
            what, call = await self._calls.get()
            try:
                async with asyncio.timeout(CALL_WITHIN):
                    await call()
            except Exception as error:  # no error of the shadow may stop the calls that follow
                reason = str(error) or type(error).__name__
                self.findings.judged(what, [Difference("the call", "answers", reason)])
            finally:
                self._calls.task_done()

    async def caught_up(self, seconds: float) -> None:
        """Wait at most ``seconds`` until all calls have been made; count the remaining ones as missed."""
        waiting = asyncio.ensure_future(self._calls.join())
        await asyncio.wait([waiting], timeout=seconds)
        waiting.cancel()
        self.findings.missed += self._calls.qsize()

    async def translated(self, value: Any) -> Any:
        """A value with the shadow's ids in place of the original's, after waiting for those not yet known."""
        ids = {each for each in ids_in(value) if not self.twins.knows(each)}
        if any(self._unmatched.get(each) for each in ids):
            within = KNOWN_WITHIN if self._patient else IMPATIENT
            self._patient = await self.until(lambda: not any(self._unmatched.get(each) for each in ids), within)
            for each in ids:  # do not wait for an id twice
                self._unmatched.pop(each, None)
        return self.twins.translated(value)

    async def until(self, happened: Callable[[], bool], seconds: float) -> bool:
        """Wait at most ``seconds`` until an event makes ``happened`` true; return whether it did."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not happened():
                    self.news.clear()
                    await self.news.wait()
        return happened()

    def expect(self, payload: Any) -> None:
        """Expect the shadow to send its twins of the ids in this payload of the original."""
        for each in ids_in(payload):
            self._unmatched[each] += 1

    def found(self, payload: Any) -> None:
        """Stop waiting for the twins of the ids in ``payload``: they are known, or will never come."""
        for each in ids_in(payload) & self._unmatched.keys():
            self._unmatched[each] -= 1
            if not self._unmatched[each]:
                del self._unmatched[each]
        self.news.set()


class Stream:
    """The events that both servers send to one client. An event waits until the other server sends the same one."""

    def __init__(self, traffic: MirroredTraffic) -> None:
        self._traffic = traffic
        self._waiting: defaultdict[str, Sides] = defaultdict(lambda: (deque(), deque()))
        self._newest: defaultdict[str, Sides] = defaultdict(lambda: (deque(maxlen=NEWEST), deque(maxlen=NEWEST)))
        self._left = False
        self._late: set[int] = set()  # id() of waiting events that the shadow sent after the client left
        self._patient = True

    def received(self, side: int, what: str, arguments: Sequence[Any]) -> None:
        """Take an event from the ORIGINAL or the SHADOW, and compare it with its match if that has arrived."""
        if what in MERGED:
            self._newest[what][side].append(arguments)
            self._note(side, arguments)
            self._traffic.news.set()
            return
        others = self._waiting[what][1 - side]
        for index, other in enumerate(others):
            original, shadow = (arguments, other) if side == ORIGINAL else (other, arguments)
            if next(self._traffic.twins.differences(original, shadow), None) is None:
                del others[index]
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
        """Whether the shadow has sent everything that the original sent."""
        return not any(original for original, _ in self._waiting.values()) and all(
            shadow for original, shadow in self._newest.values() if original
        )

    async def settle(self) -> None:
        """Give the shadow time to send what the original sent; less time if the last wait failed."""
        self._patient = await self._traffic.until(lambda: self.settled, SETTLED_WITHIN if self._patient else IMPATIENT)

    def leave(self) -> None:
        """Note that the client has left the original. The shadow may send events until the client leaves it too."""
        self._left = True

    def close(self) -> None:
        """Compare the last states, and the remaining events in the order of arrival, when no more events can come.

        One server may have been a step ahead of the other when the client left.
        """
        for what, (original, shadow) in self._newest.items():
            if original or not self._late.issuperset(map(id, shadow)):
                self._traffic.findings.judged(what, self._differences_at_last(original, shadow))
        for what, sides in self._waiting.items():
            while any(sides):
                self._judge(what)

    def _judge(self, what: str) -> None:
        """Compare the oldest waiting events of both servers, which differ."""
        original, shadow = self._waiting[what]
        if original and shadow:
            self._matched(what, original.popleft(), shadow.popleft(), waited=True)
        elif original:
            event = original.popleft()
            self._traffic.found(event)
            self._traffic.findings.judged(what, [Difference("the event", event, ABSENT)])
        else:
            event = shadow.popleft()
            if id(event) not in self._late and not what.startswith(ANSWER):  # additional answers break no client
                self._traffic.findings.judged(what, [Difference("the event", ABSENT, event)])

    def _matched(self, what: str, original: Sequence[Any], shadow: Sequence[Any], *, waited: bool) -> None:
        self._traffic.twins.learn(original, shadow)
        if waited:
            self._traffic.found(original)
        self._traffic.findings.judged(what, self._traffic.twins.differences(original, shadow))

    def _differences_at_last(
        self, original: Sequence[Sequence[Any]], shadow: Sequence[Sequence[Any]]
    ) -> list[Difference]:
        """How the last events differ; nothing if one server was only some events ahead of the other."""
        if not original or not shadow:
            return [Difference("the event", *(side[-1] if side else ABSENT for side in (original, shadow)))]
        ours, theirs = original[-1], shadow[-1]
        compare = self._traffic.twins.differences
        pairs = [*((each, theirs) for each in original), *((ours, each) for each in shadow)]
        matched = any(next(compare(*pair), None) is None for pair in pairs)
        return [] if matched else list(compare(ours, theirs))
