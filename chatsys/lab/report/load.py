"""The report of a load test: verdict, latencies by persona and store, charts over time, capacity, audit, validity."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from chatsys.lab.loadtest import memory
from chatsys.lab.loadtest.record import LoadTestRepetition, LoadTestRun
from chatsys.reports.page import Page, Part, Table, Text
from chatsys.reports.pictures import Series, ecdf, lines, panels
from chatsys.results import capacity, names

_POINTS = 90  # the most points of a line: more would make a soak test unreadable
_PUSH = "receive-message "
_SERVICE = "(service)"
_RECEIPTS = ("message-status-update", "message-read-update")
_COMPARED = (
    (("connect",), ""),
    (("load",), "message-history"),
    (("ack", "echo"), "send-message"),
    (("push",), _PUSH),
)
_LOST = ("swapped", "renumbered", "not_stored", "not_acknowledged", "stored_twice", "gaps")
_EXPLAINED = {
    "VALID": "Nothing was lost, nothing failed, and the generator kept up.",
    "INVALID": "The generator or the machine was saturated: the latencies are not the server's and must not be quoted.",
    "FAILED": "Messages were lost, doubled or swapped, or requests failed, or the run could not start.",
    "INTERRUPTED": "Ctrl-C ended the run early.",
}


def page_of(run: LoadTestRun, folder: Path) -> Page:
    """The report of ``run``, whose repetitions are in ``folder``."""
    plan = run.plan
    page = Page(title=title_of(run), subtitle=f"Run {run.id}, {run.created_at}: **{run.verdict}**")
    finished = [repetition for repetition in run.repetitions if repetition.locust]
    page.add("Verdict", Text(_EXPLAINED[run.verdict]), _verdicts(run))
    page.add("Side by side", comparison(finished))
    page.add("Push latency", *_latency(finished))
    page.add("All that was timed", *(_figures(repetition) for repetition in finished))
    page.add("All that was counted", _counted(finished))
    page.add("Over time", *_over_time(finished, folder))
    page.add("Capacity", *capacity_of(finished, plan.objective))
    page.add("Audit", *(_audit(repetition) for repetition in finished))
    page.add("Validity", *_validity(finished))
    page.add("Memory", *_memory(finished, folder))
    page.add("What this does not show", Text("\n".join(f"- {sentence}" for sentence in run.limitations)))
    page.add("How it was run", _settings("Plan", msgspec.to_builtins(plan)), _settings("Machine", run.environment))
    return page


def title_of(run: LoadTestRun) -> str:
    """The scenario and its users. For a search for the capacity it is the answer, not the highest allowed number."""
    if run.plan.scenario != "capacity":
        return f"Load test: {run.plan.scenario}, {run.plan.users:,} users"
    found = [
        f"{names.store(each.store)} {capacity.answer(each.locust.get('steps', ())).words}"
        for each in run.repetitions
        if each.locust
    ]
    return "Load test: capacity, " + "; ".join(found)


def _verdicts(run: LoadTestRun) -> Table:
    rows = [(str(each.number), each.store, each.verdict, "; ".join(each.reasons) or "none") for each in run.repetitions]
    return Table(header=("repetition", "store", "verdict", "reasons"), rows=rows, align="rlll")


def comparison(repetitions: list[LoadTestRepetition]) -> Table:
    """A row for each store or server: times in ms (median, 99th percentile), and the counts of the audit."""
    rows = []
    for store in dict.fromkeys(repetition.store for repetition in repetitions):
        own = [repetition.locust for repetition in repetitions if repetition.store == store]
        totals = [locust["audit"]["total"] for locust in own]
        counted = (sum(total[name] for total in totals) for name in ("sent", "delivered", "dropped", "doubled"))
        other = sum(total[name] for total in totals for name in _LOST)
        failures = sum(failure["occurrences"] for locust in own for failure in locust["failures"])
        spoken = ", ".join(dict.fromkeys(locust["options"].get("dialect", "chatsys") for locust in own))
        times = (_middle(own, methods, name) for methods, name in _COMPARED)
        rows.append((names.store(store), spoken, *times, *(f"{n:,}" for n in (*counted, other, failures))))
    times_of = ("server", "dialect", "connect", "join until history", "send until confirmed", "push")
    header = (*times_of, "sent", "delivered", "dropped", "doubled", "other deviations", "failures")
    return Table(header=header, rows=rows, align="ll" + "r" * 10)


def _middle(results: list[dict[str, Any]], methods: tuple[str, ...], name: str) -> str:
    """Median and 99th percentile of the figures whose names begin with ``name``, without service times."""
    found = [
        figure
        for result in results
        for figure in result["figures"]
        if figure["method"] in methods
        and figure["name"].startswith(name)
        and not figure["name"].endswith(_SERVICE)
        and figure["histogram"]
    ]
    if not found:
        return "not timed"
    median, late = quantiles(*histogram_of(found), (0.5, 0.99))
    return f"{median:.2f}, {late:.2f}"


# -- latency


def histogram_of(figures: Iterable[dict[str, Any]]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """The values (ms, ascending) of several figures together, and the count of each."""
    pairs: dict[float, int] = {}
    for figure in figures:
        for value, count in figure["histogram"]:
            pairs[value] = pairs.get(value, 0) + count
    values = sorted(pairs)
    return np.array(values, dtype=np.float64), np.array([pairs[value] for value in values], dtype=np.int64)


def quantiles(values: npt.NDArray[np.float64], counts: npt.NDArray[np.int64], shares: Sequence[float]) -> list[float]:
    """For each share the smallest value that at least this share of the samples does not exceed."""
    reached = np.cumsum(counts)
    return [float(values[np.searchsorted(reached, share * reached[-1])]) for share in shares]


def _row(name: str, values: npt.NDArray[np.float64], counts: npt.NDArray[np.int64]) -> tuple[str, ...]:
    at = quantiles(values, counts, (0.5, 0.95, 0.99))
    return (name, f"{counts.sum():,}", *(f"{ms:.2f}" for ms in (*at, values[-1])))


def _pushes(repetition: LoadTestRepetition) -> list[dict[str, Any]]:
    figures = repetition.locust["figures"]
    return [f for f in figures if f["method"] == "push" and f["name"].startswith(_PUSH) and f["histogram"]]


def _latency(repetitions: list[LoadTestRepetition]) -> list[Part]:
    """For each store: all personas together, each persona, and the service time if it was measured."""
    rows, curves = [], []
    for store in dict.fromkeys(repetition.store for repetition in repetitions):
        figures = [figure for repetition in repetitions if repetition.store == store for figure in _pushes(repetition)]
        timed = [f for f in figures if not f["name"].endswith(_SERVICE)]
        service = [f for f in figures if f["name"].endswith(_SERVICE)]
        if not timed:
            continue
        values, counts = histogram_of(timed)
        rows.append(_row(f"{store}: all", values, counts))
        curves.append((store, *_cumulated(values, counts)))
        if service:
            rows.append(_row(f"{store}: all, service time", *histogram_of(service)))
        for name in sorted({f["name"] for f in timed}):
            rows.append(
                _row(f"{store}: {name.removeprefix(_PUSH)}", *histogram_of(f for f in timed if f["name"] == name))
            )
    if not rows:
        return [Text("No push was timed.")]
    clocks = sorted({repetition.locust["clock"] for repetition in repetitions})
    text = f"From the sender's timestamp to the arrival at a recipient. Clock: {', '.join(clocks)}."
    header = ("store: persona", "pushes", "p50 ms", "p95 ms", "p99 ms", "max ms")
    caption = "Push latency of all recipients."
    return [Text(text), Table(header=header, rows=rows), ecdf("push-latency", caption, curves, x="milliseconds")]


def _cumulated(
    values: npt.NDArray[np.float64], counts: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.float64], list[float]]:
    """At most 400 values above 0, because the axis is logarithmic, and the share of samples at or below each."""
    shares = np.cumsum(counts) / counts.sum()
    chosen = np.unique(np.searchsorted(shares, np.linspace(0, 1, 400)).clip(max=len(values) - 1))
    positive: npt.NDArray[np.float64] = np.maximum(values[chosen], 0.01)
    return positive, shares[chosen].tolist()


def _figures(repetition: LoadTestRepetition) -> Table:
    rows = []
    for figure in repetition.locust["figures"]:
        name = f"{figure['method']} {figure['name']}"
        if figure["histogram"]:
            rows.append((*_row(name, *histogram_of([figure])), str(figure["failures"])))
        else:
            rows.append((name, f"{figure['count']:,}", *["not timed"] * 4, str(figure["failures"])))
    header = ("what", "count", "p50 ms", "p95 ms", "p99 ms", "max ms", "failures")
    return Table(header=header, rows=rows, caption=_name(repetition))


def _counted(repetitions: list[LoadTestRepetition]) -> Table:
    """The counts of events that are not timed: sent without requesting an acknowledgement, and received."""
    rows = []
    for repetition in repetitions:
        total, received = repetition.locust["audit"]["total"], repetition.locust["unhandled"]
        sent = max(1, total["sent"])
        counted = [("pushes of messages", total["delivered"])]
        counted.append(("receipt updates, both kinds", sum(received.get(event, 0) for event in _RECEIPTS)))
        counted += [(f"received {event}", count) for event, count in sorted(received.items())]
        counted += [(f"sent {event}", count) for event, count in sorted(repetition.locust["untimed"].items())]
        rows += [(_name(repetition), event, f"{count:,}", f"{count / sent:.2f}") for event, count in counted]
    return Table(header=("repetition", "event", "count", "for each message sent"), rows=rows, align="llrr")


# -- over time


def _over_time(repetitions: list[LoadTestRepetition], folder: Path) -> list[Part]:
    """One figure per repetition. Its panels share an axis: seconds since the first sample."""
    parts: list[Part] = []
    for repetition in repetitions:
        locust = memory.lines(folder / repetition.folder / "samples.jsonl")
        server = memory.lines(folder / repetition.folder / "server.jsonl")
        if locust:
            stacked = _panels(locust, server, min(line["time"] for line in (locust[0], *server[:1])))
            about = "each second. If there are many, a point is the highest value of several seconds."
            caption = f"{_name(repetition)}: {about}"
            parts.append(panels(f"over-time-{repetition.number}", caption, stacked, x="seconds"))
    return parts


def _panels(locust: list[dict[str, Any]], server: list[dict[str, Any]], start: float) -> list[tuple[str, list[Series]]]:
    pushed = [line for line in locust if line["push"]]
    cores, resident = _generators(locust, start, "cpu"), _generators(locust, start, "rss", 2**-20)
    if server and "cpu" in server[0]:
        cores.insert(0, _series("server", server, start, [line["cpu"] for line in server]))
        resident.insert(0, _series("server", server, start, [line["rss"] / 2**20 for line in server]))
    pushes = [_series(key, pushed, start, [line["push"][key] for line in pushed]) for key in ("p50", "p99")]
    stacked = [
        ("users", [_series("users", locust, start, [line["users"] for line in locust])]),
        ("push, ms", pushes),
        ("cores", cores),
        ("memory, MiB", resident),
    ]
    if server and "database" in server[0]:
        rows = [_rate(server, start, f"tup_{what}", what) for what in ("inserted", "updated")]
        stacked += [
            ("commits/s", [_rate(server, start, "xact_commit", "commits")]),
            ("rows/s", rows),
            ("WAL, KiB/s", [_rate(server, start, "wal_bytes", "WAL", 1 / 1024)]),
        ]
    return stacked


def _generators(locust: list[dict[str, Any]], start: float, key: str, scale: float = 1.0) -> list[Series]:
    """One line for each generator process."""
    names = sorted({name for line in locust for name in line["generators"]})
    found = []
    for number, name in enumerate(names, 1):
        known = [line for line in locust if name in line["generators"]]
        label = "generator" if len(names) == 1 else f"generator {number}"
        found.append(_series(label, known, start, [line["generators"][name][key] * scale for line in known]))
    return found


def _rate(server: list[dict[str, Any]], start: float, key: str, label: str, scale: float = 1.0) -> Series:
    """The rate per second of a cumulative counter."""
    rates = [
        (later["database"][key] - earlier["database"][key]) / (later["time"] - earlier["time"]) * scale
        for earlier, later in pairwise(server)
    ]
    return _series(label, server[1:], start, rates)


def _series(label: str, samples: list[dict[str, Any]], start: float, ys: list[float]) -> Series:
    """At most _POINTS points, each the highest of its interval, so that no peak is hidden."""
    step = max(1, -(-len(samples) // _POINTS))
    starts = range(0, len(samples), step)
    return Series(label, [samples[i]["time"] - start for i in starts], [float(max(ys[i : i + step])) for i in starts])


# -- capacity, audit, validity


def capacity_of(repetitions: list[LoadTestRepetition], objective: float) -> list[Part]:
    """The result of a search for the capacity: the answer of each repetition, its steps, a picture."""
    searched = [repetition for repetition in repetitions if repetition.locust["steps"]]
    if not searched:
        return []
    found, rows, curves = [], [], []
    for repetition in searched:
        steps = sorted(repetition.locust["steps"], key=lambda step: step["users"])
        rows += [(_name(repetition), *_step(step)) for step in steps]
        answer = capacity.answer(steps)
        generators = f"; {repetition.processes} generator processes" if repetition.processes > 1 else ""
        found.append(f"- {_name(repetition)}: **{answer.words}**; {answer.why}{generators}")
        timed = [step for step in steps if step["push_p99"] is not None]
        users, p99 = [step["users"] for step in timed], [step["push_p99"] for step in timed]
        curves.append(Series(_name(repetition), users, p99))
    text = (
        f"How many users can be connected while push p99 stays at most {objective:g} ms, nothing is lost and nothing "
        "fails. A step at which the load generator was saturated is not measurable: it may have measured its own "
        "slowness.\n\n" + "\n".join(found)
    )
    caption = "Push p99 at each number of users that the search tried."
    curve = lines("capacity", caption, curves, x="users", y="push p99, ms", log_y=True)
    header = ("repetition", "users", "push p99 ms", "failures", "deviations", "outcome", "ran out first")
    return [Text(text), Table(header=header, align="lrrrrll", rows=rows), curve]


def _step(step: dict[str, Any]) -> tuple[str, ...]:
    p99 = "not timed" if step["push_p99"] is None else f"{step['push_p99']:.2f}"
    outcome, limit = capacity.outcome(step), capacity.limit(step)
    return f"{step['users']:,}", p99, str(step["failures"]), str(step["deviations"]), outcome, limit


def _audit(repetition: LoadTestRepetition) -> Table:
    audit = repetition.locust["audit"]
    columns = [name for name in audit["total"] if name != "room"]
    rooms = sorted(audit["rows"], key=lambda row: -row["expected"])[:10]
    rows = [(row["room"], *(f"{row[name]:,}" for name in columns)) for row in (*rooms, audit["total"])]
    caption = f"{_name(repetition)}: the ten largest of {len(audit['rows'])} rooms, and the total of all rooms."
    return Table(header=("room", *(name.replace("_", " ") for name in columns)), rows=rows, caption=caption)


def _validity(repetitions: list[LoadTestRepetition]) -> list[Part]:
    rows = []
    for repetition in repetitions:
        for number, seen in enumerate(repetition.locust["generators"].values(), 1):
            cpu = [_quantile(seen["cpu"], share) for share in (0.5, 0.99)]
            lag = _quantile(seen["lag"], 0.99) / 10
            starts = f"{seen['missed']} of {seen['starts']}" if seen["starts"] else "closed loop"
            generator = f"{_name(repetition)}, generator {number}"
            rows.append((generator, f"{cpu[0]:.0f} %", f"{cpu[1]:.0f} %", f"{lag:.1f}", starts, f"{seen['steal']:.1%}"))
    header = ("generator", "CPU p50", "CPU p99", "timer lag p99, ms", "missed starts", "steal")
    return [Table(header=header, rows=rows)] if rows else []


def _memory(repetitions: list[LoadTestRepetition], folder: Path) -> list[Part]:
    """For each process: memory at the start and the end, per user, and the growth after the first five minutes."""
    rows = []
    for repetition in repetitions:
        users = repetition.locust["options"]["users"]
        for seen in memory.of_repetition(folder / repetition.folder, repetition.store):
            share = f"{(seen.end - seen.first) / users / 1024:.0f}" if users else ""
            growth = "shorter run" if seen.growth is None else f"{seen.growth:+.1%}"
            each = "" if seen.bytes_each is None or not seen.keeps else f"{seen.bytes_each:,.0f}"
            sizes = (f"{size / 2**20:.1f}" for size in (seen.first, seen.end))
            rows.append((f"{_name(repetition)}, {seen.process}", *sizes, share, growth, each))
    text = (
        f"Growth compares the last minute with the minute after the first five minutes. A soak test fails above "
        f"{memory.LIMIT:.0%}. A store in memory keeps each message with its receipts by design, so its growth is "
        "shown in bytes per message and not judged."
    )
    header = ("process", "start, MiB", "end, MiB", "KiB a user", "growth after 5 min", "bytes a message")
    return [Text(text), Table(header=header, rows=rows)]


def _quantile(counts: dict[str, int], share: float) -> float:
    if not counts:
        return 0.0
    pairs = sorted((float(key), count) for key, count in counts.items())
    values, numbers = np.array([key for key, _ in pairs]), np.array([count for _, count in pairs])
    return quantiles(values, numbers, (share,))[0]


def _settings(title: str, values: dict[str, Any]) -> Table:
    rows = [(key.replace("_", " "), _plain(value)) for key, value in values.items()]
    return Table(header=(title, "value"), rows=rows, align="ll")


def _plain(value: Any) -> str:
    """A value as text for a reader."""
    if isinstance(value, dict):
        return ", ".join(f"{key} {_plain(inner)}" for key, inner in value.items() if inner not in ("", None)) or "none"
    if isinstance(value, list | tuple):
        return ", ".join(map(_plain, value)) or "all"
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    return f"{value:,}" if isinstance(value, int) else str(value)


def _name(repetition: LoadTestRepetition) -> str:
    return f"repetition {repetition.number}, {repetition.store}"
