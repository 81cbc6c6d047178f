"""The conclusions of a run in words, made from its data: the last cell of each notebook.

Every function takes a run of :func:`chatsys.analytics.runs.load_run` and returns Markdown, which says so if the run did
not measure something. A result that is bad for PostgreSQL, or for a promise, comes first.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pandas as pd

from chatsys.analytics import runs
from chatsys.analytics.runs import Run
from chatsys.reports.decision import html, markdown
from chatsys.reports.tables import marked
from chatsys.results import names
from chatsys.results.audit import DEVIATIONS
from chatsys.results.capacity import answer
from chatsys.results.decision import Decision, decide
from chatsys.results.names import TITLES, VERDICTS
from chatsys.results.numbers import brief_duration, count, durations_arrow, figure, rounded, size

HARDLY, LINEAR = 0.25, 0.75
"""Exponents: below the first, a median hardly grows with the size; above the second, it grows about linearly."""
GIB = 2**30
_SENT = ["send_message", "send_message x64"]


class NotebookAnswer(str):
    """Markdown text that a notebook renders."""

    __slots__ = ()

    def _repr_markdown_(self) -> str:
        return str(self)


class Screen:
    """The summary with which every report of a benchmark begins."""

    def __init__(self, decided: Decision) -> None:
        self._decided = decided

    def _repr_html_(self) -> str:
        return html(self._decided)

    def _repr_markdown_(self) -> str:
        return markdown(self._decided, None)


def _answer(run: Run, bold: str, points: Iterable[str] = ()) -> NotebookAnswer:
    """A bold line, a short list, and the limitations of the run."""
    head = [] if run.is_valid else [f"**These figures must not be quoted: the run is not valid.** {run.describe()}"]
    listed = "\n".join(f"- {point}" for point in points if point)
    return NotebookAnswer("\n\n".join(part for part in [*head, f"**{bold}**", listed, _limits(run)] if part))


def _limits(run: Run) -> str:
    """A link to the limitations in the report, or the limitations themselves if the run has no report."""
    if not run.limitations:
        return ""
    if (run.folder / "report.md").exists():
        section = "limitations" if run.kind == "bench" else "what-this-does-not-show"
        return f"[What this does not show]({run.folder.as_posix()}/report.md#{section})"
    return f"What this does not show: {' '.join(run.limitations)}"


def decision(run: Run) -> Screen:
    """The summary: what PostgreSQL costs a user of the chat, what it gains, and whether the run is valid."""
    return Screen(decide(runs.record(run)))


def backend(run: Run) -> NotebookAnswer:
    """What the run decides, and which parts of the guide's promises were kept."""
    decided = decide(runs.record(run))
    judged = sorted(decided.promises, key=lambda each: VERDICTS.index(each.verdict))
    kept = (f"{each.title} ({each.guide}): {'; '.join(map(marked, each.parts))}" for each in judged)
    return _answer(run, decided.headline or "This run measured nothing that allows a decision.", kept)


def _survivors(run: Run) -> list[str]:
    parts = []
    for row in _rows(runs.persistence(run)):
        kept = f"{row.acknowledged - row.missing:,} of {row.acknowledged:,} acknowledged messages"
        parts.append(f"{_store(row.store)}, {_store(row.killed)} killed: {kept} were kept")
    return parts


def growth(run: Run) -> NotebookAnswer:
    """How each operation's median grows with the amount of stored data."""
    fitted = runs.fits(run)
    if fitted.empty:
        return _answer(run, "This run measured too few sizes to fit the growth.")
    points = []
    for operation in [name for name in TITLES if name in set(fitted["operation"])]:
        rows = fitted[fitted["operation"].eq(operation)]
        stores = (
            f"{_store(row.store)} {_kind(row.exponent, row.low, row.high)} (exponent {row.exponent:z.2f}, "
            f"{row.low:z.2f} to {row.high:z.2f})"
            for row in _rows(rows)
        )
        points.append(f"{TITLES[operation]}: {'; '.join(stores)}")
    span = f"{fitted['smallest'].min():,} to {fitted['largest'].max():,}"
    slow = fitted[fitted["store"].eq("postgresql") & fitted["low"].gt(HARDLY)]["operation"]
    conclusion = (
        f"On PostgreSQL {', '.join(TITLES.get(str(name), str(name)).lower() for name in slow)} grows with the size."
        if len(slow)
        else "On PostgreSQL, no operation was shown to grow faster with the size than a logarithm might."
    )
    points.append(f"Sizes from {span}; an exponent of 1 is O(n); O(log n) and O(1) both give an exponent near 0")
    return _answer(run, conclusion, points)


def _kind(exponent: float, low: float, high: float) -> str:
    if high < HARDLY:
        return "hardly grows"
    if low > LINEAR:
        return "grows about linearly"
    if low > 0 and exponent > HARDLY:
        return "grows, but less than linearly" if high < 1 else "grows, perhaps linearly"
    return "may grow or not: the interval is too wide"


def load(run: Run) -> NotebookAnswer:
    """Whether the load test passed, how long users waited, and whether every message arrived."""
    points = []
    pushes = runs.distribution(run)
    for each in _rows(runs.repetitions(run)):
        part = pushes[pushes["repetition"].eq(each.repetition) & ~pushes["name"].str.endswith("(service)")]
        waits = ""
        if len(part):
            half, tail = _weighted(part, 0.5), _weighted(part, 0.99)
            waits = f"; half of {part['samples'].sum():,} pushes took at most {_ms(half)}, 99 % at most {_ms(tail)}"
        why = f" ({each.reasons})" if each.reasons else ""
        what = f"Repetition {each.repetition}, {each.users:,} users on {_store(each.store)}"
        points.append(f"{what}: {each.verdict}{why}{waits}")
    found, bold = runs.audit(run), "This run audited nothing."
    if len(found):
        wrong = {name: int(found[name].sum()) for name in DEVIATIONS if name in found}  # an older run has fewer
        deviations = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in wrong.items() if count)
        bold = (
            f"Of {int(found['expected'].sum()):,} expected deliveries in {_number(len(found), 'room')} "
            f"{deviations or 'none was lost, doubled or out of order'}."
        )
    return _answer(run, bold, points)


def monitoring(run: Run) -> NotebookAnswer:
    """What the database did for each message, and whether anything is wrong with it."""
    change, watch = runs.monitored(run, "diff"), runs.monitored(run, "watch")
    seconds, messages = change.attrs["seconds"], change.attrs["messages"]
    cost = change.set_index(["source", "object", "counter"])["per_message"]
    rows = change[change["source"].eq("table_activity") & change["counter"].eq("rows_inserted_total")]
    hit = runs.monitored(run, "throughput")["buffer_hit_ratio"].iloc[0]
    waits, blocked = int(watch["lock_waits"].max()), len(runs.monitored(run, "blocking"))
    lag, slow = runs.monitored(run, "read_lag"), runs.monitored(run, "slow_queries")
    left = len(runs.monitored(run, "orphans"))
    points = [
        f"Each message cost {_cost(cost, 'throughput', 'commits_total'):.2f} commits, "
        f"{_cost(cost, 'statements', 'calls_total'):.1f} statements, {size(_cost(cost, 'wal', 'wal_bytes_total'))} of "
        f"WAL and {rows['per_message'].sum():.1f} new rows (including receipts, statements inside triggers, and the "
        f"monitor's own queries)",
        f"{hit:.2%} of the blocks were found in shared buffers".replace("%", " %"),
        f"At most {_number(waits, 'connection')} waited for a lock at once; at the end {blocked}",
    ]
    if len(lag):
        half, most = lag["lag_ms"].quantile(0.5), lag["lag_ms"].quantile(0.95)
        points.append(f"Half of {len(lag):,} read receipts arrived within {_ms(half)}, 95 % within {_ms(most)}")
    if len(slow):
        first = slow.iloc[0]
        taken = f"{first['time_ratio']:.0%}".replace("%", " %")
        points.append(
            f"The most expensive statement takes {taken} of the time: {first['calls_total']:,} calls of "
            f"{_ms(first['mean_exec_ms'])} on average"
        )
    points.append("No dead server left anything behind" if not left else f"{left} rows are orphans")
    stored = f"In {seconds:.0f} s the chat stored {messages:,} messages, {messages / seconds:,.0f} per second."
    return _answer(run, stored, points)


def _cost(cost: pd.Series[float], source: str, counter: str) -> float:
    found = cost.get((source, "", counter), float("nan"))
    return float(found)


def capacity(load_run: Run, bench: Run) -> NotebookAnswer:
    """How many users one server carries, how many rows fit, and which figures are calculated, not measured."""
    bold, points = _searched(load_run)
    return _answer(load_run, bold, [*points, *_per_core(load_run), *_rows_per_gib(bench)])


def _searched(run: Run) -> tuple[str, list[str]]:
    """The capacity of each store, and what is known about more users."""
    steps = runs.capacity(run)
    if steps.empty:
        return "This run did not search for the limit: `chatsys loadtest --scenario capacity` does.", []
    found: dict[str, Any] = {}
    for store, part in steps.groupby("store"):
        tried: list[Any] = part.to_dict("records")
        found[_store(str(store))] = answer(tried)
    objective = run.record["plan"]["objective"]
    points = [f"{store}: {each.why}" for store, each in found.items()]
    points.append(f"The objective: 99 % of pushes within {objective:g} ms, nothing lost, nothing failed")
    return f"{'; '.join(f'{store}: {each.words}' for store, each in found.items())}.", points


def _per_core(run: Run) -> list[str]:
    points = []
    for repetition in _rows(runs.repetitions(run).drop_duplicates("store")):
        line = runs.timeline(run, int(repetition.repetition))
        steady = line[line["users"] >= line["users"].max()]
        cpu, users = steady["server_cpu_ratio"].mean(), int(line["users"].max())
        if cpu > 0 and users:
            share = f"{cpu:.0%}".replace("%", " %")
            points.append(
                f"{users:,} users on {_store(repetition.store)} took {share} of a core of the server. In proportion, "
                f"one core would carry about {rounded(users / cpu)} users (calculated, not measured)"
            )
    return points


def _rows_per_gib(bench: Run) -> list[str]:
    measured = runs.points(bench)
    sized = measured[measured["experiment"].eq("bytes")].sort_values("x").groupby(["subject", "metric"]).last()
    points = []
    for row in _rows(sized.reset_index()):
        where = "RAM" if row.subject == "memory" else "disk"
        what = row.metric.removeprefix("bytes per ")
        holds = f"1 GiB holds about {rounded(GIB / row.value)}"
        points.append(f"A {what} takes {size(row.value)} of {where} on {_store(row.subject)}: {holds}")
    return points


def durability(run: Run) -> NotebookAnswer:
    """What a durable commit costs, what group commit saves, and what a crash loses."""
    killed = runs.persistence(run)
    lost = killed.loc[killed["store"].eq("postgresql"), "missing"].sum()
    bold = "This run killed no server, so it says nothing about persistence."
    if len(killed):
        bold = f"PostgreSQL lost {f'{lost:,}' if lost else 'no'} acknowledged messages when a process was killed."
    points = _survivors(run)
    sent = runs.operations(run)
    alone = sent[sent["operation"].eq("send_message") & sent["depth"].eq("store")].set_index("store")["p50_ms"]
    if {"postgresql", "memory"} <= set(alone.index):
        points.append(
            f"Inside the process, one sender waits {_ms(alone['postgresql'])} for a durable message (median), and "
            f"{_ms(alone['memory'])} for one that is only in memory"
        )
    counted = runs.counts(run)
    for metric in ("writing statements per call", "WAL bytes per call"):
        values = counted[counted["metric"].eq(metric)].set_index("subject")["value"]
        if {"send_message", "send_message x64"} <= set(values.index):
            shown = [size(value) if "bytes" in metric else figure(value) for value in values[_SENT]]
            points.append(f"{metric.capitalize().replace('Wal', 'WAL')}: {shown[0]} for one sender, {shown[1]} for 64")
    steps = runs.durability(run)
    if len(steps) > 1:
        first, last = steps.iloc[0], steps.iloc[-1]
        points.append(
            f"The price of durability on this disk: {count(first['value'])} messages per second with "
            f"“{first['subject']}”, {count(last['value'])} with “{last['subject']}”"
        )
    return _answer(run, bold, points)


def distance(run: Run) -> NotebookAnswer:
    """How long each operation takes with a network between server and database."""
    found = runs.points(run)
    found = found[found["experiment"].eq("distance") & found["metric"].eq("p50")].sort_values("x")
    if found.empty:
        return _answer(run, "This run did not measure a distance between server and database.")
    points = []
    for name, part in found.groupby("subject", sort=False):
        ends = part.iloc[0], part.iloc[-1]
        both = durations_arrow(ends[0]["value"], ends[1]["value"])
        points.append(f"{names.title(str(name))}: {both}")
    near, far = found["x"].min(), found["x"].max()
    bold = f"With the database {brief_duration(far)} away instead of {brief_duration(near)}:"
    return _answer(run, bold, points)


def compared(before: Run, after: Run) -> NotebookAnswer:
    """What changed between two runs, as far as two separate runs can show it."""
    found = runs.compare_runs(before, after)
    is_ratio = found["metric"].isin(["PostgreSQL over memory", "times the baseline"])
    ratios, counts = found[is_ratio], found[~is_ratio]
    far = [part[part["differs"].fillna(value=False)] for part in (ratios, counts)]
    bold = (
        f"{len(far[0])} of {_number(len(ratios), 'ratio')} and {len(far[1])} of {_number(len(counts), 'count')} differ."
    )
    points = [
        f"{row.what}, {row.metric}: {figure(row.before)} → {figure(row.after)}" for part in far for row in _rows(part)
    ]
    points.append("The machine's state differs between two runs, so their ratios differ by more than their intervals "
                  "say. `chatsys bench --against REV` measures in one run whether a commit is slower")  # fmt: skip
    return _answer(after, bold, points)


def _rows(frame: pd.DataFrame) -> list[Any]:
    return list(frame.itertuples(index=False))


def _weighted(frame: pd.DataFrame, share: float) -> float:
    ordered = frame.sort_values("latency_ms")
    reached = ordered["samples"].astype("float64").cumsum() / ordered["samples"].sum()
    return float(ordered["latency_ms"].to_numpy()[int(reached.searchsorted(share))])


def _ms(value: Any) -> str:
    return brief_duration(float(value) * 1000)


def _store(name: str) -> str:
    return "chat server" if name == "server" else names.store(name)


def _number(count: int, thing: str) -> str:
    return f"{count:,} {thing}{'s' if count != 1 else ''}"
