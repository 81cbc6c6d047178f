"""The buses between servers: the findings in words, the delays as a picture, and all figures in tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from chatsys.lab.experiments.buses import (
    ALONE,
    APART,
    BROKER_CPU,
    DATABASE_CPU,
    DELAY,
    ELSEWHERE,
    HERE,
    IDLE_EVENTS,
    MEMBER_CPU,
    NAME,
    NOT_RUN,
    NOTIFY,
    OTHER_CPU,
    SENDER_CPU,
    SHARED,
)
from chatsys.lab.statistics import of_rounds
from chatsys.lab.subjects.brokers import BROKERS
from chatsys.reports.page import Part, Table, Text
from chatsys.reports.pictures import ecdf
from chatsys.results.distributions import SHARES, Distribution
from chatsys.results.run import Point, Result

BUSES = (NOTIFY, *BROKERS)
_TIMES = (f"{HERE} p50", f"{ELSEWHERE} p50", f"{ELSEWHERE} p99", f"{DELAY} p50", f"{DELAY} p99")
_ROOMS = {APART: "in a room with members on one server only", SHARED: "in a room with members on other servers"}
_COSTS = (SENDER_CPU, MEMBER_CPU, OTHER_CPU, DATABASE_CPU, BROKER_CPU)


def parts(result: Result, distributions: Sequence[Distribution]) -> list[Part]:
    """The parts of the report about the buses; empty if the run did not measure them."""
    found = _found(result)
    if not found:
        return []
    return [
        Text("\n".join(f"- {sentence}" for sentence in answers(result))),
        *_picture(distributions),
        _table(found, _TIMES, "From the intended start to the receiver."),
        _table(found, _COSTS, "Processor time per message, without what a server or a broker uses when it is idle."),
    ]


def answers(result: Result) -> list[str]:
    """The findings of this run about the buses, one sentence each."""
    found = _found(result)
    if not found:
        return []
    events = {count.subject: count.value for count in result.counts if count.metric == IDLE_EVENTS}
    return [
        *_delays(found),
        *_shares(found),
        *_idle(found, events),
        *(sentence for sentence in result.limitations if NOT_RUN in sentence),
    ]


_Found = dict[tuple[str, int, str], Point]


def _found(result: Result) -> _Found:
    """The points of the buses; empty without those of one server alone, with which the others are compared."""
    found = {(p.subject, int(p.x), p.metric): p for p in result.points if p.experiment == NAME}
    return found if (ALONE, 1, SENDER_CPU) in found else {}


def _delays(found: _Found) -> Iterator[str]:
    for size in _sizes(found):
        delays = []
        for bus in BUSES:
            middle, tail = (found.get((f"{bus}, {SHARED}", size, f"{DELAY} {which}")) for which in ("p50", "p99"))
            if middle is not None and tail is not None:
                delays.append(f"{bus} {_between(middle)}, p99 {_between(tail)}")
        if delays:
            yield (
                f"With {size} servers, a member on another server gets a message later than a member on the sender's"
                f" server by (p50): {'; '.join(delays)}."
            )


def _shares(found: _Found) -> Iterator[str]:
    """The cost of a message for the sender's server, compared with one server alone."""
    alone = found[ALONE, 1, SENDER_CPU]
    yield f"One server alone spends {_between(alone)} of processor time on a message."
    for room in (APART, SHARED):
        costs = []
        for bus in BUSES:
            for size in _sizes(found):
                point = found.get((f"{bus}, {room}", size, SENDER_CPU))
                if point is not None:
                    differences = [ours - theirs for ours, theirs in zip(point.rounds, alone.rounds, strict=True)]
                    more, bounds = of_rounds(differences, geometric=False)
                    within = f" ({bounds.low:+.0f} to {bounds.high:+.0f})" if bounds else ""
                    costs.append(f"{bus} with {size} servers {more:+.0f} µs{within}")
        if costs:
            yield f"A message {_ROOMS[room]} costs the sender's server this much more: {'; '.join(costs)}."


def _idle(found: _Found, events: dict[str, float]) -> Iterator[str]:
    """Whether servers without a member use processor time. An interval that includes 0 counts as none."""
    for bus in BUSES:
        counts = [value for subject, value in events.items() if f" servers, {bus}, " in subject]
        points = [p for (subject, _, metric), p in found.items() if metric == OTHER_CPU and subject.startswith(bus)]
        if not counts or not points:
            continue
        spent = "; ".join(
            f"{_between(p)} with {p.x:.0f} servers and a {p.subject.removeprefix(f'{bus}, ')}" for p in points
        )
        nothing = all(p.interval is not None and p.interval.low <= 0 for p in points)
        word = "no measurable processor time" if nothing else "processor time"
        yield (
            f"{bus}: servers without a member of the room received {sum(counts):,.0f} events and spent {word} on a"
            f" message: {spent}."
        )


def _picture(distributions: Sequence[Distribution]) -> list[Part]:
    drawn = []
    for size in sorted({each.size for each in distributions if each.experiment == NAME}):
        for bus in BUSES:
            key = (NAME, DELAY, f"{bus}, {SHARED}", size)
            own = [d for d in distributions if (d.experiment, d.operation, d.subject, d.size) == key]
            drawn += [(f"{bus}, {size} servers", each.microseconds, SHARES) for each in own]
    caption = "How much later a member on another server gets a message: the cumulative share of deliveries."
    return [ecdf("buses", caption, drawn, x="microseconds", y="share of deliveries")] if drawn else []


def _table(found: _Found, metrics: Sequence[str], caption: str) -> Table:
    used = [metric for metric in metrics if any(key[2] == metric for key in found)]
    rows = []
    for subject, size in dict.fromkeys((subject, size) for subject, size, _ in found):
        rows.append((subject, f"{size}", *(_cell(found.get((subject, size, metric))) for metric in used)))
    return Table(header=("Bus and room", "Servers", *used), rows=rows, align="lr" + "r" * len(used), caption=caption)


def _cell(point: Point | None) -> str:
    return "" if point is None else _between(point)


def _between(point: Point) -> str:
    """A value and its interval in the same unit: 1.25 ms (1.21 to 1.30), −0.3 µs (−2.0 to 1.4)."""
    if point.value < 1_000:
        return f"{_plain(point.value)} µs{_bounds(point)}"
    return f"{_plain(point.value / 1_000)} ms{_bounds(point, 1_000)}"


def _bounds(point: Point, divisor: float = 1) -> str:
    if point.interval is None:
        return ""
    return f" ({_plain(point.interval.low / divisor)} to {_plain(point.interval.high / divisor)})"


def _plain(number: float) -> str:
    return f"{number:.0f}" if abs(number) >= 100 else f"{number:.1f}" if abs(number) >= 10 else f"{number:.2f}"


def _sizes(found: _Found) -> list[int]:
    return sorted({size for _, size, _ in found if size > 1})
