"""What a run says, in words made from its data: the last cell of each notebook.

Every function takes what :func:`chatsys.analytics.runs.load_run` gave and returns Markdown; what the run did not
measure is said to be missing. A result that is bad for PostgreSQL, or for a promise, comes first.
"""

from __future__ import annotations

from typing import Any

import pandas as pd

from chatsys.analytics import runs
from chatsys.analytics.formatting import human
from chatsys.analytics.runs import Run
from chatsys.analytics.runs.bench import TITLES
from chatsys.results.audit import DEVIATIONS
from chatsys.results.capacity import answer

HARDLY, LINEAR = 0.25, 0.75
"""Exponents: below the first a median hardly grows with size; above the second it grows about as the size does."""
GIB = 2**30


class Answer(str):
    """Markdown that a notebook shows as such."""

    __slots__ = ()

    def _repr_markdown_(self) -> str:
        return str(self)


def _answer(run: Run, sentences: list[str]) -> Answer:
    head = [] if run.is_valid else [f"**These figures must not be quoted: the run is not valid.** {run.describe()}"]
    limits = [f"What this does not show: {' '.join(run.limitations)}"] if run.limitations else []
    return Answer("\n\n".join([*head, *sentences, *limits]))


def backend(run: Run) -> Answer:
    """Which of the guide's promises hold, and what PostgreSQL costs against memory."""
    table = runs.guide_table(run).dropna(subset=["postgresql_times_memory"]).sort_values("postgresql_times_memory")
    sentences = [_verdicts(run)]
    if len(table):
        cheap, dear = table.iloc[0], table.iloc[-1]
        sentences.append(
            f"A call of PostgreSQL's store takes {_times(cheap['postgresql_times_memory'])} the time of memory's for "
            f"“{cheap['operation']}” ({_ms(cheap['postgresql_p50_ms'])} against {_ms(cheap['memory_p50_ms'])}), and "
            f"{_times(dear['postgresql_times_memory'])} for “{dear['operation']}” ({_ms(dear['postgresql_p50_ms'])} "
            f"against {_ms(dear['memory_p50_ms'])}): medians of one run."
        )
        faster = [str(name) for name in table.loc[table["postgresql_times_memory"] < 1, "operation"]]
        sentences.append(f"PostgreSQL is the faster one for {_list(faster)}." if faster else "It is faster for none.")
    floors = table.dropna(subset=["postgresql_times_floor"]) if len(table) else table
    if len(floors):
        each = (f"{row.operation} {row.postgresql_times_floor:.2f}" for row in _rows(floors))
        sentences.append(f"Times the same statement through bare asyncpg: {', '.join(each)}.")
    return _answer(run, [*sentences, _survivors(run)])


def _verdicts(run: Run) -> str:
    judged = runs.claims(run)
    if judged.empty:
        return "This run judged no promise of the guide."
    order = {"does not hold": 0, "holds with conditions": 1, "holds": 2}
    parts = []
    for verdict in sorted(judged["verdict"].unique(), key=lambda each: order.get(str(each), 3)):
        those = judged.loc[judged["verdict"].eq(verdict), "promise"]
        parts.append(f"**{str(verdict).capitalize()}** ({len(those)}): {_list([str(each) for each in those], '; ')}.")
    return "\n\n".join(parts)


def _survivors(run: Run) -> str:
    killed = runs.persistence(run)
    if killed.empty:
        return "This run killed no server, so it says nothing about persistence."
    parts = [
        f"{row.missing:,} of {row.acknowledged:,} acknowledged messages were missing after the {row.killed} was killed "
        f"on {_store(row.store)}"
        for row in _rows(killed)
    ]
    return f"{'; '.join(parts)}."


def growth(run: Run) -> Answer:
    """How each operation's median grows with what is stored."""
    fitted = runs.fits(run)
    if fitted.empty:
        return _answer(run, ["This run has too few sizes to fit a growth to."])
    sentences = []
    for operation in [name for name in TITLES if name in set(fitted["operation"])]:
        rows = fitted[fitted["operation"].eq(operation)]
        said = (
            f"{_store(row.store)} {_kind(row.exponent, row.low, row.high)} (exponent {row.exponent:z.2f}, "
            f"{row.low:z.2f} to {row.high:z.2f})"
            for row in _rows(rows)
        )
        sentences.append(f"- **{TITLES[operation]}**: {'; '.join(said)}.")
    span = f"{fitted['smallest'].min():,} to {fitted['largest'].max():,}"
    slow = fitted[fitted["store"].eq("postgresql") & fitted["low"].gt(HARDLY)]["operation"]
    conclusion = (
        f"On PostgreSQL {_list([TITLES.get(str(name), str(name)).lower() for name in slow])} grows with the size."
        if len(slow)
        else "On PostgreSQL no operation was shown to grow with the size faster than a logarithm might."
    )
    heading = f"Sizes from {span}. An exponent of 1 is O(n); O(log n) and O(1) both give one near 0."
    return _answer(run, [conclusion, heading, "\n".join(sentences)])


def _kind(exponent: float, low: float, high: float) -> str:
    if high < HARDLY:
        return "hardly grows"
    if low > LINEAR:
        return "grows about linearly"
    if low > 0 and exponent > HARDLY:
        return "grows, but less than linearly" if high < 1 else "grows, perhaps linearly"
    return "cannot be told from either"


def load(run: Run) -> Answer:
    """Whether the load test passed, what people felt, and what became of each message."""
    sentences = []
    pushes = runs.distribution(run)
    for turn in _rows(runs.turns(run)):
        part = pushes[pushes["turn"].eq(turn.turn) & ~pushes["name"].str.endswith("(service)")]
        felt = ""
        if len(part):
            half, tail = _weighted(part, 0.5), _weighted(part, 0.99)
            felt = f" Half of {part['samples'].sum():,} pushes took at most {_ms(half)}, 99 % at most {_ms(tail)}."
        why = f" ({turn.reasons})" if turn.reasons else ""
        sentences.append(
            f"Turn {turn.turn}, {turn.users:,} users on {_store(turn.store)}: **{turn.verdict}**{why}.{felt}"
        )
    found = runs.audit(run)
    if len(found):
        wrong = {name: int(found[name].sum()) for name in DEVIATIONS if name in found}  # an older run has fewer
        deviations = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in wrong.items() if count)
        sentences.append(
            f"Audit of {int(found['expected'].sum()):,} expected deliveries in {_number(len(found), 'room')}: "
            f"{deviations or 'none lost, none doubled, none out of order'}."
        )
    return _answer(run, sentences)


def monitoring(run: Run) -> Answer:
    """What the database did for each message, and whether anything is wrong with it."""
    change, watch = runs.monitored(run, "diff"), runs.monitored(run, "watch")
    seconds, messages = change.attrs["seconds"], change.attrs["messages"]
    cost = change.set_index(["source", "object", "counter"])["per_message"]
    rows = change[change["source"].eq("table_activity") & change["counter"].eq("rows_inserted_total")]
    sentences = [
        f"In {seconds:.0f} s the chat stored {messages:,} messages, {messages / seconds:,.0f} a second. Each cost "
        f"{_cost(cost, 'throughput', 'commits_total'):.2f} commits, {_cost(cost, 'statements', 'calls_total'):.1f} "
        f"statements, {human(_cost(cost, 'wal', 'wal_bytes_total'), 'x_bytes')} of WAL and "
        f"{rows['per_message'].sum():.1f} new rows (receipts are included, statements inside triggers count, and so do "
        f"the monitor's own questions).",
    ]
    hit = runs.monitored(run, "throughput")["buffer_hit_ratio"].iloc[0]
    waits, blocked = int(watch["lock_waits"].max()), len(runs.monitored(run, "blocking"))
    sentences.append(
        f"{hit:.2%} of the blocks were found in shared buffers. At most {_number(waits, 'connection')} waited for a "
        f"lock at once; at the end it was {blocked}."
    )
    lag, slow = runs.monitored(run, "read_lag"), runs.monitored(run, "slow_queries")
    if len(lag):
        half, most = lag["lag_ms"].quantile(0.5), lag["lag_ms"].quantile(0.95)
        sentences.append(f"Half of {len(lag):,} receipts of reading came within {_ms(half)}, 95 % within {_ms(most)}.")
    if len(slow):
        first = slow.iloc[0]
        sentences.append(
            f"The statement that costs the most takes {first['time_ratio']:.0%} of the time: "
            f"{first['calls_total']:,} times {_ms(first['mean_exec_ms'])}."
        )
    left = len(runs.monitored(run, "orphans"))
    sentences.append("Nothing was left behind by a dead server." if not left else f"{left} rows are orphans.")
    return _answer(run, sentences)


def _cost(cost: pd.Series[float], source: str, counter: str) -> float:
    found = cost.get((source, "", counter), float("nan"))
    return float(found)


def capacity(load_run: Run, bench: Run) -> Answer:
    """How many users one server carries, how many rows fit, and how far that can be believed."""
    sentences = [_searched(load_run), *_extrapolated(load_run), *_room(bench)]
    return _answer(load_run, [sentence for sentence in sentences if sentence])


def _searched(run: Run) -> str:
    steps = runs.capacity(run)
    objective = run.record["plan"]["objective"]
    if steps.empty:
        return f"This run did not search for the limit (`chatsys loadtest --scenario capacity` does): {run.id}."
    parts = []
    for store, part in steps.groupby("store"):
        tried: list[Any] = part.to_dict("records")
        found = answer(tried)
        parts.append(f"- **{_store(str(store))}: {found.words}**; {found.why}.")
    said = f"The objective: 99 % of pushes within {objective:g} ms, nothing lost, nothing failed."
    return "\n".join([said, "", *parts])


def _extrapolated(run: Run) -> list[str]:
    sentences = []
    for turn in _rows(runs.turns(run).drop_duplicates("store")):
        line = runs.timeline(run, int(turn.turn))
        steady = line[line["users"] >= line["users"].max()]
        cpu, users = steady["server_cpu_ratio"].mean(), int(line["users"].max())
        if cpu > 0 and users:
            sentences.append(
                f"With {users:,} users on {_store(turn.store)} the server took {cpu:.0%} of a core. If its cost "
                f"grew in proportion, one core would carry about {_rounded(users / cpu)} such users. That is "
                f"arithmetic, not a measurement: queues grow faster than load, and latency suffers first."
            )
    return sentences


def _room(bench: Run) -> list[str]:
    measured = runs.points(bench)
    sized = measured[measured["experiment"].eq("bytes")].sort_values("x").groupby(["subject", "metric"]).last()
    sentences = []
    for row in _rows(sized.reset_index()):
        where = "RAM" if row.subject == "memory" else "disk"
        size, holds = human(float(row.value), "x_bytes"), _rounded(GIB / row.value)
        what = row.metric.removeprefix("bytes per ")
        sentences.append(f"- A {what} takes {size} of {where} on {_store(row.subject)}: 1 GiB holds about {holds}.")
    return ["\n".join(sentences)] if sentences else []


def durability(run: Run) -> Answer:
    """What a durable commit costs, what group commit saves, and what a crash loses."""
    sentences = [_survivors(run)]
    sent = runs.operations(run)
    alone = sent[sent["operation"].eq("send_message") & sent["depth"].eq("store")].set_index("store")["p50_ms"]
    if {"postgresql", "memory"} <= set(alone.index):
        sentences.append(
            f"One sender waits {_ms(alone['postgresql'])} for a durable message (median), and {_ms(alone['memory'])} "
            f"for one that is only in memory."
        )
    counted = runs.counts(run)
    for metric in ("commits per call", "WAL bytes per call"):
        values = counted[counted["metric"].eq(metric)].set_index("subject")["value"]
        if {"send_message", "send_message x64"} <= set(values.index):
            single, shared = values["send_message"], values["send_message x64"]
            sentences.append(
                f"{metric[0].upper()}{metric[1:]}: {single:,.2f} for one sender, {shared:,.2f} when 64 send at a time."
            )
    steps = runs.durability(run)
    if len(steps) > 1:
        first, last = steps.iloc[0], steps.iloc[-1]
        sentences.append(
            f"From “{first['subject']}” ({first['value']:,.0f} messages a second) to “{last['subject']}” "
            f"({last['value']:,.0f}) is the price of durability on this disk."
        )
    return _answer(run, sentences)


def _rows(frame: pd.DataFrame) -> list[Any]:
    return list(frame.itertuples(index=False))


def _weighted(frame: pd.DataFrame, share: float) -> float:
    ordered = frame.sort_values("latency_ms")
    reached = ordered["samples"].astype("float64").cumsum() / ordered["samples"].sum()
    return float(ordered["latency_ms"].to_numpy()[int(reached.searchsorted(share))])


def _ms(value: Any) -> str:
    if value < 1:
        return f"{value * 1000:.3g} µs"
    return human(float(value), "x_ms")


def _times(value: float) -> str:
    return f"{value:,.0f} times" if value >= 10 else f"{value:.2g} times"


def _rounded(value: float) -> str:
    """A number with two figures: more would pretend."""
    return f"{float(f'{value:.2g}'):,.0f}"


def _store(name: str) -> str:
    return "memory" if name == "memory" else "PostgreSQL"


def _number(count: int, thing: str) -> str:
    return f"{count:,} {thing}{'s' if count != 1 else ''}"


def _list(names: list[str], separator: str = ", ") -> str:
    return separator.join(names)
