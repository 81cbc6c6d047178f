"""The first screen of every report, for somebody who must decide; it is derived from the record alone.

:func:`decide` turns a :class:`~chatsys.results.run.Result` into a :class:`Decision`: two sentences, how long a client
waits on both stores, rates at full speed, the guide's promises with their verdicts, the sizes of the data, why to
believe the run, and what it does not show. All words follow from the figures beside them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from chatsys.results.claims import faults, judge
from chatsys.results.names import FIND_BY_ID, MARK_READ, RECENT, SEARCH, SEND, STORES, TITLES, UNKNOWN
from chatsys.results.numbers import MANY_TIMES, brief_duration, change, count, share_of
from chatsys.results.run import Judgement, OperationResult, Point, Result, held, operation, points

_SHOWN_LIMITS = 3
_SENDING = "Send a message"


class Wait(NamedTuple):
    """The median and the 99th percentile of a call, in microseconds."""

    p50: float
    p99: float


class Felt(NamedTuple):
    """One action of a client (``what`` over ``how``), and its wait on each store. ``data`` is what the stores held."""

    what: str
    how: str
    data: str
    memory: Wait
    postgresql: Wait

    @property
    def change(self) -> str:
        """How PostgreSQL changes the wait, in words: ``0.41 ms more``, ``98 times faster``."""
        return change(self.memory.p50, self.postgresql.p50)

    @property
    def gains(self) -> bool:
        """Whether PostgreSQL is much faster."""
        return self.memory.p50 >= MANY_TIMES * self.postgresql.p50


class StoreRates(NamedTuple):
    """What each store does per second at full speed; ``at_least`` marks a side limited by its load generator."""

    what: str
    memory: float
    postgresql: float
    at_least: tuple[bool, bool] = (False, False)

    @property
    def change(self) -> str:
        """How PostgreSQL changes the rate, in words. A lower bound can't be compared."""
        if any(self.at_least):
            return "the load generator's limit"
        return share_of(self.memory, self.postgresql)


class Decision(NamedTuple):
    """The first screen. ``warning`` is empty for a run that may be quoted."""

    title: str
    warning: str
    headline: str
    felt: tuple[Felt, ...]
    rates: tuple[StoreRates, ...]
    promises: tuple[Judgement, ...]
    data: str
    believe: str
    limits: str


def decide(result: Result) -> Decision:
    """The decision that the run allows."""
    felt = tuple(_felt(result))
    return Decision(
        title=f"What PostgreSQL costs this chat, measured on {result.created_at[:10]}",
        warning=warning(result),
        headline=_headline(result, felt) if result.valid else "This run is INVALID and decides nothing.",
        felt=felt,
        rates=tuple(_rates(result)),
        promises=tuple(each for each in judge(result) if each.verdict != UNKNOWN),
        data=_data(result),
        believe=" ".join(_believe(result)),
        limits=" ".join([*_distance(result), *result.limitations[:_SHOWN_LIMITS]]),
    )


def warning(result: Result) -> str:
    """What a reader must know before the figures; empty for a valid and complete run."""
    sentences = []
    if not result.valid:
        reasons = "; ".join(reason.removesuffix(".") for reason in result.reasons)
        sentences.append(f"INVALID: these figures must not be quoted. Reasons: {reasons}.")
    if result.partial:
        sentences.append("Partial: the run was interrupted; only what it had measured by then is shown.")
    return " ".join(sentences)


def _felt(result: Result) -> Iterator[Felt]:
    """Sending and receiving a message, then requests; the search comes last, as PostgreSQL can be much faster there."""
    yield from _operation(result, SEND, "socket", f"{_SENDING}, see it come back")
    yield from _push(result)
    yield from _operation(result, MARK_READ, "socket", "Mark a message read")
    yield from _operation(result, RECENT, "http", "Get 100 messages")
    yield from _operation(result, FIND_BY_ID, "http", "Find a user")
    known = operation(result, SEARCH, "memory", "http")
    among = f"Search among {count(known.users)} users" if known is not None and known.users else "Search users"
    yield from _operation(result, SEARCH, "http", among)


def _operation(result: Result, name: str, depth: str, what: str) -> Iterator[Felt]:
    memory, postgresql = (operation(result, name, store, depth) for store in STORES)
    if memory is not None and postgresql is not None:
        how = "HTTP" if depth == "http" else "Socket.IO"
        yield Felt(what, how, held(result, memory), _wait(memory), _wait(postgresql))


def _wait(each: OperationResult) -> Wait:
    return Wait(each.p50_us, each.p99_us)


def _push(result: Result) -> Iterator[Felt]:
    """The time from a sender to each recipient while many users are connected."""
    figures = [[_largest(points(result, "push", metric, store)) for metric in ("p50", "p99")] for store in STORES]
    (m50, m99), (p50, p99) = figures
    if m50 and m99 and p50 and p99:
        what = f"Receive a push, {count(m50.x)} users"
        yield Felt(what, "Socket.IO", "rooms of 20", Wait(m50.value, m99.value), Wait(p50.value, p99.value))


def _rates(result: Result) -> Iterator[StoreRates]:
    senders = [{p.x: p for p in points(result, "senders", "messages/s", store)} for store in STORES]
    both = sorted(senders[0].keys() & senders[1].keys())
    if both:
        most = max(both, key=lambda x: senders[1][x].value)
        yield _rate(f"Stored messages a second, {count(most)} senders", senders[0][most], senders[1][most])
    largest = [_largest(points(result, "fanout", "deliveries/s", store)) for store in STORES]
    if largest[0] and largest[1]:
        yield _rate(f"Deliveries a second to {count(largest[0].x)} members", largest[0], largest[1])


def _rate(what: str, memory: Point, postgresql: Point) -> StoreRates:
    return StoreRates(what, memory.value, postgresql.value, (memory.lower_bound, postgresql.lower_bound))


def _largest(found: list[Point]) -> Point | None:
    return max(found, key=lambda point: point.x, default=None)


def _headline(result: Result, felt: tuple[Felt, ...]) -> str:
    """The first sentence is the cost of a message, the second the gain and the cost of everything else."""
    sent = next((each for each in felt if each.what.startswith(_SENDING)), None)
    lost = [each for each in result.persistence if each.store == "postgresql"]
    missing, acknowledged = sum(each.missing for each in lost), sum(each.acknowledged for each in lost)
    first = []
    if sent is not None:
        first.append(f"a message takes {sent.change.replace(' more', ' longer')}")
    if lost:
        which = f"{missing:,} of {acknowledged:,} are" if missing else "none is"
        first.append(f"{which if first else which.replace('none', 'no message')} lost when a process is killed")
    second = [*_gain(result, felt), *_rest(felt)]
    return " ".join(_sentence(words) for words in (" and ".join(first), "; ".join(second)) if words)


def _gain(result: Result, felt: tuple[Felt, ...]) -> Iterator[str]:
    """The largest gain of a client. If there is none, the gain of a search inside the store, with more users."""
    gained = [each for each in felt if each.gains]
    if gained:
        most = max(gained, key=lambda each: each.memory.p50 / each.postgresql.p50)
        what = most.what.replace("Search among", "finding people among").replace("Search", "finding")
        yield f"{what} gets {most.change}"
        return
    curves = [points(result, f"growth: {SEARCH}", "p50", store) for store in STORES]
    if all(curves):
        memory, postgresql = (_largest(curve) for curve in curves)
        if memory and postgresql and memory.value >= MANY_TIMES * postgresql.value:
            faster = change(memory.value, postgresql.value)
            yield f"in the store, finding people among {count(memory.x)} users gets {faster}"


def _rest(felt: tuple[Felt, ...]) -> Iterator[str]:
    rest = [each for each in felt if not each.gains and not each.what.startswith(_SENDING)]
    if rest:
        most = max(each.postgresql.p50 - each.memory.p50 for each in rest)
        more = f"at most {brief_duration(most)} more" if most > 0 else "no longer"
        yield f"everything else that a client does takes {more}"


def _sentence(words: str) -> str:
    return f"{words[0].upper()}{words[1:]}." if words else ""


def _data(result: Result) -> str:
    """The sizes of the data behind the figures, which differ between figures."""
    client = next((each for each in result.operations if each.depth in ("http", "socket")), None)
    inside = next((each for each in result.operations if each.depth == "store"), None)
    sentences = []
    if client is not None:
        sentences.append(f"The waits of a client were measured with {held(result, client)} in each store")
    if inside is not None:
        sentences.append(f"calls inside the process with {held(result, inside)}")
    if points(result, "push", "p50"):
        sentences.append("a push with empty stores and the stated number of guests, in rooms of 20")
    return _sentence("; ".join(sentences))


def _believe(result: Result) -> Iterator[str]:
    rounds, cpus = result.parameters.get("rounds"), result.environment.get("cpus")
    calls = sum(each.n for each in result.operations if each.operation in TITLES)
    if calls:
        over = f" in {rounds} rounds" if rounds else ""
        where = f" of {cpus} processors" if cpus else ""
        yield f"The stores alternated{over} on one machine{where}; each of {calls:,} answers was checked."
    two = {each.metric: each.value for each in result.counts if each.subject == "two servers"}
    if two.get("deliveries"):
        found = faults(two) or "none was lost, doubled or out of order"
        yield f"{count(two['deliveries'])} deliveries between two servers were audited: {found}."
    if result.valid and not result.partial:
        yield (
            "The run is valid: other programs did not disturb it, and no load generator on which a latency depends was"
            " saturated."
        )


def _distance(result: Result) -> Iterator[str]:
    """What a network to the database adds, if the run measured it."""
    found = sorted(points(result, "distance", "p50", SEND), key=lambda point: point.x)
    if len(found) > 1:
        near, far = found[0], found[-1]
        yield (
            "The database ran on the same machine as the server. With a database"
            f" {brief_duration(far.x)} away, storing a message takes {brief_duration(far.value)} instead of"
            f" {brief_duration(near.value)}."
        )
