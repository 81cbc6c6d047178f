"""Other Socket.IO servers and chatsys: the findings in words, and all figures in tables."""

from __future__ import annotations

from collections.abc import Iterator

from chatsys.lab.experiments.peers import CPU, ECHO, IDLE, NAME, OURS, RATE
from chatsys.lab.peers import PLAIN
from chatsys.reports.page import Part, Table, Text
from chatsys.results.run import Point, Result

_BEHIND = 1.03
"""Figures that differ by less than this factor are called equal."""
_Found = dict[tuple[str, str, int], Point]


def parts(result: Result) -> list[Part]:
    """The parts of the report about the peers; empty if the run did not measure them."""
    found = _found(result)
    if not found:
        return []
    return [Text("\n".join(f"- {sentence}" for sentence in answers(result))), *tables(result)]


def tables(result: Result) -> list[Table]:
    """Rates, processor time, echo and memory. ``≥`` means that the load generator was the limit."""
    found = _found(result)
    if not found:
        return []
    subjects = list(dict.fromkeys(subject for subject, _, _ in found))
    members = sorted({x for _, metric, x in found if metric == RATE})
    align = "r" * (len(subjects) + 1)
    drawn = [
        Table(
            header=("Members", *subjects),
            rows=[(f"{x:,}", *(_cell(found.get((name, metric, x)), metric) for name in subjects)) for x in members],
            align=align,
            caption=caption,
        )
        for metric, caption in (
            (RATE, "Deliveries a second, in thousands; ≥: the load generator was the limit."),
            (CPU, "Processor time of the server for each delivery, in µs."),
        )
    ]
    echo, idle = (
        [
            next((p for (who, metric, _), p in found.items() if (who, metric) == (name, wanted)), None)
            for name in subjects
        ]
        for wanted in (ECHO, IDLE)
    )
    connections = int(next((p.x for p in idle if p is not None), 0))
    rows = [
        ("Echo, median in µs", *(_cell(p, ECHO) for p in echo)),
        (f"{connections:,} idle, kB each", *(_cell(p, IDLE) for p in idle)),
    ]
    return [*drawn, Table(header=("", *subjects), rows=rows, align="l" + align[1:])]


def answers(result: Result) -> list[str]:
    """Where chatsys is ahead of the best peer or behind it, and how it compares with a plain loop of send."""
    found = _found(result)
    if not found:
        return []
    peers = [name for name in dict.fromkeys(subject for subject, _, _ in found) if name not in {OURS, PLAIN}]
    return [*_against_peers(found, peers), *_against_a_plain_loop(found)]


def _against_peers(found: _Found, peers: list[str]) -> Iterator[str]:
    for metric, what, better in (
        (RATE, "Deliveries a second", max), (CPU, "Processor time of a delivery", min),
        (ECHO, "Time of an echo", min), (IDLE, "Memory of an idle connection", min),
    ):  # fmt: skip
        for x in sorted({x for _, each, x in found if each == metric}):
            ours = found.get((OURS, metric, x))
            theirs = [found[name, metric, x] for name in peers if (name, metric, x) in found]
            if ours is None or not theirs:
                continue
            best = better(theirs, key=lambda point: point.value)
            ratio = ours.value / best.value if better is max else best.value / ours.value
            where = f" with {x:,} member{'s' * (x > 1)}" if metric in {RATE, CPU} else ""
            if ours.lower_bound or best.lower_bound:
                yield f"{what}{where}: not decided against {best.subject}, because the load generator was the limit."
            else:
                yield f"{what}{where}: {_standing(ratio, best.subject)}."


def _standing(ratio: float, best: str) -> str:
    """The comparison in words. ``ratio`` says how many times as good as the best peer chatsys is."""
    if ratio > _BEHIND:
        return f"chatsys is {_times(ratio)} times as good as the best peer, {best}"
    if ratio < 1 / _BEHIND:
        return f"**chatsys is behind**: {best} is {_times(1 / ratio)} times as good"
    return f"chatsys equals the best peer, {best}"


def _times(ratio: float) -> str:
    return f"{ratio:.2f}" if ratio < 1.2 else f"{ratio:.1f}"


def _against_a_plain_loop(found: _Found) -> Iterator[str]:
    most = max((x for name, metric, x in found if (name, metric) == (PLAIN, CPU)), default=0)
    if most and (OURS, CPU, most) in found:
        ratio = found[OURS, CPU, most].value / found[PLAIN, CPU, most].value
        yield (
            f"A delivery to {most:,} members takes {ratio:.2f} times the processor time of a plain loop of send, which"
            " writes each message separately. chatsys can send all waiting messages of a member in one write."
        )


def _found(result: Result) -> _Found:
    return {(p.subject, p.metric, int(p.x)): p for p in result.points if p.experiment == NAME}


def _cell(point: Point | None, metric: str) -> str:
    if point is None:
        return ""
    if metric == RATE:
        return ("≥ " if point.lower_bound else "") + f"{point.value / 1e3:,.0f}"
    if metric == CPU:
        return f"{point.value:.1f}"
    return f"{point.value:,.0f}" if metric == ECHO else f"{point.value / 1e3:.1f}"
