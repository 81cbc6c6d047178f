"""The page of a benchmark run: the guide's table first, then verdicts, pictures, costs and limitations."""

from __future__ import annotations

from collections.abc import Sequence

from chatsys.lab import statistics
from chatsys.lab.claims import FAILS, STORE_NAMES, VERDICTS
from chatsys.lab.experiments.upkeep import BARE
from chatsys.lab.marks import MISSED
from chatsys.lab.record import Mark, Point, Result, Sampled
from chatsys.lab.report import buses, floods
from chatsys.lab.report.page import Page, Part, Table, Text
from chatsys.lab.report.pictures import Series, bars, ecdf, lines
from chatsys.lab.report.tables import TITLES, figure, guide_table, microseconds, times
from chatsys.lab.workloads.operation import TABLE

_GROWTH = "growth: "
_ORIENTATION = (
    "For orientation: the Node.js original on two cores stored 1,200 messages a second from one sender (p50 0.73 ms)"
    " and 3,700 from 64 (p50 17 ms); that was another run, not this one."
)
_TOLD = {
    "senders": "The closed loop in figures: from sending to the sender's own echo; processor times are of a message.",
    "arrivals": "The open loop in figures.",
    "fairness": "A room of two, without and with a big room that gets 20 messages a second.",
    "slow reader": "A room that gets 2 MB a second, without and with a member that reads nothing of it.",
    "storm": "Everybody joins one room within two seconds, and gets the growing list of its members.",
    "workers": "One worker and two in figures; processor times are of a message, over all workers.",
}
"""What the tables of the experiments show."""
_BAND = 3  # rounds, from which on an interval over them is narrow enough to be drawn


def page(result: Result, samples: Sequence[Sampled]) -> Page:
    """Everything the run has to say."""
    drawn = Page(title="Memory against PostgreSQL", subtitle=subtitle(result))
    drawn.add("The guide's table", *_first(result))
    drawn.add("Verdicts", *_verdicts(result))
    drawn.add("Numbers to reach", *_marks(result))
    drawn.add("At the doors, and 64 at a time", *_doors(result))
    drawn.add("Latency distributions", *_distributions(samples))
    drawn.add("Floors", *_floors(result))
    drawn.add("Growth", *_growth(result))
    drawn.add("Throughput against latency", *_throughput(result), *_arrivals(result))
    drawn.add("Durability", *_durability(result))
    drawn.add("Real time", *_realtime(result))
    drawn.add("Between servers", *buses.parts(result, samples))
    drawn.add("One client against all others", *floods.parts(result))
    drawn.add("Upkeep", *_upkeep(result))
    drawn.add("What each operation costs PostgreSQL", *_costs(result))
    drawn.add("Limitations", Text("\n".join(f"- {sentence}" for sentence in result.limitations)))
    drawn.add("Where the time went", *_timings(result))
    drawn.add("The run", *_run(result))
    return drawn


def subtitle(result: Result) -> str:
    """Which run this is."""
    environment = result.environment
    commit = (environment.get("commit") or "")[:10] + (" with changes" if environment.get("dirty") else "")
    measured = f"commit {commit}" if commit else f"chatsys {environment.get('chatsys', 'of an unknown version')}"
    return (
        f"Run `{result.id}` of {result.created_at}, profile {result.profile}, seed {result.seed}, {measured}; "
        f"{environment.get('cpu', 'unknown processor')}, {environment.get('cpus', '?')} processors, "
        f"{environment.get('python', '')}."
    )


def verdict(result: Result) -> str:
    """What a reader must know before the figures; empty for a valid, complete run."""
    blocks = []
    if not result.valid:
        reasons = "; ".join(reason.removesuffix(".") for reason in result.reasons)
        blocks.append(f"**INVALID: these figures must not be quoted.** Reasons: {reasons}.")
    if result.partial:
        blocks.append("**Partial:** the run was interrupted; what it had measured until then is shown.")
    return "\n\n".join(blocks)


def _first(result: Result) -> list[Part]:
    parts: list[Part] = [Text(verdict(result))] if verdict(result) else []
    broken = [each for each in result.claims if each.verdict == FAILS]
    if broken:
        said = "\n".join(f"- {each.promise} {each.measured}" for each in broken)
        parts.append(Text(f"**What does not hold:**\n\n{said}"))
    if result.operations:
        parts.append(guide_table(result, caption="Calls of the store, one at a time, with the interval of the ratio."))
    return parts


def _verdicts(result: Result) -> list[Part]:
    if not result.claims:
        return []
    order = sorted(result.claims, key=lambda each: VERDICTS.index(each.verdict))
    rows = [(each.promise, f"**{each.verdict}**", each.measured, each.rule, _link(each.samples)) for each in order]
    return [Table(header=("The guide's promise", "Verdict", "Measured", "Rule, set before the run", "Samples"),
                  rows=rows, align="lllll")]  # fmt: skip


def _marks(result: Result) -> list[Part]:
    """Ratios of two things that took turns in this run, beside the mark that each should reach."""
    if not result.marks:
        return []
    text = "Each is a ratio of two things that took turns in this run, with its 95 % interval over the rounds."
    missed = [mark.what for mark in result.marks if mark.verdict.startswith(MISSED)]
    text += f" Not reached: {'; '.join(missed)}." if missed else " Every mark was reached."
    return [Text(text), Table(header=("Ratio", "Measured", "Mark", "Verdict", "Rounds"),
                              rows=[_mark(mark) for mark in result.marks], align="lrrlr")]  # fmt: skip


def _mark(mark: Mark) -> tuple[str, str, str, str, str]:
    wanted = "" if mark.bound is None else f"{'≥' if mark.at_least else '≤'} {mark.bound:g}"
    verdict = mark.verdict.replace(MISSED, f"**{MISSED}**")
    bound = "≥ " if mark.lower_bound else ""
    return mark.what, bound + times(mark.ratio, mark.interval), wanted, verdict, f"{mark.rounds}"


def _link(samples: str) -> str:
    return f"[{samples}]({samples.partition(':')[0]})"


def _doors(result: Result) -> list[Part]:
    captions = {
        "http": "HTTP requests over one kept connection.",
        "socket": "Socket.IO over WebSocket. Sending runs from the event to the sender's own echo, marking a message"
        " read to its acknowledgement.",
        "store x64": "Calls of the store, 64 at a time: each call's latency includes its waiting.",
    }
    tables = [guide_table(result, depth, caption) for depth, caption in captions.items()]
    return [table for table in tables if table.rows]


def _distributions(samples: Sequence[Sampled]) -> list[Part]:
    parts: list[Part] = []
    for name in TABLE:
        drawn = []
        for subject, label in (*STORE_NAMES.items(), ("asyncpg", "bare asyncpg"), ("python", "plain Python")):
            key = ("table", name, subject, "store")
            rounds = [
                turn.microseconds
                for turn in samples
                if (turn.experiment, turn.operation, turn.contestant, turn.depth) == key
            ]
            if rounds:
                drawn.append((label, statistics.pooled(rounds)))
        if drawn:
            caption = f"{TITLES[name]}: the share of calls that took at most so long."
            parts.append(ecdf(f"ecdf-{name}", caption, drawn, x="microseconds"))
    return parts


def _floors(result: Result) -> list[Part]:
    kinds = {
        "asyncpg": "bare asyncpg",
        "python": "dicts and lists",
        "pgbench": "pgbench",
        "socket.io": "Socket.IO echo",
    }
    rows = [
        (TITLES.get(floor.operation, floor.operation), STORE_NAMES.get(floor.store, floor.store),
         kinds.get(floor.kind, floor.kind), microseconds(floor.p50_us), times(floor.ratio, floor.interval))
        for floor in result.floors
    ]  # fmt: skip
    noop = [o for o in result.operations if o.operation == "noop"]
    text = "The same work with nothing of chatsys around it, in turns with the stores. The floor of 100 messages is a "
    text += "bare SELECT of the same rows without senders and receipts; that of sending is one INSERT and one COMMIT."
    if noop:
        text += f" The harness itself costs {microseconds(max(o.p50_us for o in noop))} a call (a no-op)."
    if not rows:
        return []
    return [Text(text), Table(header=("Operation", "Store", "Floor", "Floor's p50", "Times the floor"), rows=rows,
                              align="lllrr")]  # fmt: skip


def _growth(result: Result) -> list[Part]:
    parts: list[Part] = []
    for name in TABLE:
        series = _series(result, _GROWTH + name, "p50")
        if series:
            caption = f"{TITLES[name]}: p50 with n users and n messages in the store."
            parts.append(lines(f"growth-{name}", caption, series, x="n", y="microseconds", log_x=True, log_y=True))
    rows = [
        (TITLES[fit.operation], STORE_NAMES[fit.store], f"{fit.exponent:z.2f}",
         f"{fit.interval.low:z.2f} to {fit.interval.high:z.2f}")
        for fit in result.fits
    ]  # fmt: skip
    if rows:
        parts.append(Table(header=("Operation", "Store", "Exponent b of n^b", "Interval"), rows=rows, align="llrr"))
    sizes = [p for p in result.points if p.experiment == "bytes"]
    if sizes:
        largest = max(p.x for p in sizes)
        rows = [(STORE_NAMES[p.subject], p.metric, f"{p.value:,.0f}", f"{1024**3 / max(p.value, 1):,.0f}")
                for p in sizes if p.x == largest]  # fmt: skip
        parts.append(
            Table(header=("Store", "Cost", "Bytes", "In 1 GiB"), rows=rows, align="llrr",
                  caption=f"At {largest:,.0f} users and messages; a message with its receipts and indexes.")
        )  # fmt: skip
    return parts


def _throughput(result: Result) -> list[Part]:
    rates, middles = _points(result, "senders", "messages/s"), _points(result, "senders", "p50")
    subjects = list(dict.fromkeys(point.subject for point in rates))
    if not subjects:
        return []
    series = []
    for subject in subjects:
        x = [point.value for point in rates if point.subject == subject]
        y = [point.value / 1000 for point in middles if point.subject == subject]
        series.append(Series(STORE_NAMES.get(subject, subject), x, y))
    counts = ", ".join(f"{point.x:,.0f}" for point in rates if point.subject == subjects[0])
    caption = (
        f"Closed loop: each point is a number of senders ({counts}), each alone in a room, whose next message follows"
        f" the echo of the last. {_ORIENTATION}"
    )
    table = _curve_table(result, "senders", _metrics(result, "senders"), "Senders")
    picture = lines("throughput", caption, series, x="messages a second", y="p50, milliseconds", log_y=True)
    return [picture, table]


def _arrivals(result: Result) -> list[Part]:
    """The open loop: response times from the intended start beside service times from the actual one."""
    series = []
    for subject in dict.fromkeys(p.subject for p in result.points if p.experiment == "arrivals"):
        for metric in ("response p99", "service p99"):
            own = [p for p in _points(result, "arrivals", metric) if p.subject == subject]
            label = f"{STORE_NAMES.get(subject, subject)}, {metric}"
            series.append(Series(label, [p.x for p in own], [p.value / 1000 for p in own]))
    if not series:
        return []
    caption = (
        "Open loop: messages leave at the moments of a Poisson process, at shares of what the same server took in a"
        " closed loop. Response time runs from the intended start, service time from the actual one."
    )
    metrics = ("share", "response p50", "response p99", "service p50", "service p99")
    picture = lines("arrivals", caption, series, x="messages a second", y="p99, milliseconds", log_y=True)
    return [picture, _curve_table(result, "arrivals", metrics, "Messages a second")]


def _durability(result: Result) -> list[Part]:
    parts: list[Part] = []
    if result.persistence:
        rows = [(STORE_NAMES[each.store], STORE_NAMES.get(each.killed, "chat server"), f"{each.acknowledged:,}",
                 f"{each.missing:,}") for each in result.persistence]  # fmt: skip
        parts.append(Table(header=("Store", "Killed with SIGKILL", "Acknowledged", "Missing"), rows=rows, align="llrr"))
    ladder = _points(result, "durability", "messages/s")
    if ladder:
        caption = (
            "Messages stored a second by 64 callers, from nothing durable to each one durable; the last rung is one"
            " connection without a store around it, which commits each message before it sends the next."
        )
        parts.append(bars("durability", caption, [(p.subject, p.value) for p in ladder], x="messages a second"))
    return parts


def _realtime(result: Result) -> list[Part]:
    parts: list[Part] = []
    for experiment, metric, x, y, caption, log_y in (
        ("fanout", "deliveries/s", "members of the room", "deliveries a second",
         "One message to a room, counted at the receivers. A generator that was saturated is named under Limitations.",
         False),
        ("receipts", "seconds", "members of the room", "seconds",
         "One message that everybody reads at once: the time until everybody has every update.", True),
    ):  # fmt: skip
        series = _series(result, experiment, metric)
        if series:
            parts.append(lines(experiment, caption, series, x=x, y=y, log_x=True, log_y=log_y))
    workers = _points(result, "workers", "messages/s")
    if workers:
        caption = f"{workers[0].x:,.0f} senders, each alone in a room, before one worker process and before two."
        parts.append(bars("workers", caption, [(p.subject, p.value) for p in workers], x="messages a second"))
    idle = _points(result, "idle", "bytes a connection")
    if idle:
        values = [(STORE_NAMES.get(p.subject, p.subject), p.value / 1024) for p in idle]
        parts.append(bars("idle", "Resident memory of the server for each idle connection.", values, x="KiB"))
    for experiment, header in (("fairness", "Members of the other room"), ("slow reader", "Clients that do not read"),
                               ("storm", "Members"), ("workers", "Senders")):  # fmt: skip
        if metrics := _metrics(result, experiment):
            parts.append(_curve_table(result, experiment, metrics, header))
    return parts


def _costs(result: Result) -> list[Part]:
    per_call = [count for count in result.counts if count.metric.endswith(" per call")]
    metrics = list(dict.fromkeys(count.metric for count in per_call))
    subjects = list(dict.fromkeys(count.subject for count in per_call))
    known = {(count.subject, count.metric): count.value for count in per_call}
    rows = [(subject, *(figure(known[subject, metric]) for metric in metrics)) for subject in subjects]
    if not rows:
        return []
    return [Table(header=("Operation", *(metric.removesuffix(" per call") for metric in metrics)), rows=rows,
                  caption="Counted by the server, for each call.")]  # fmt: skip


def _upkeep(result: Result) -> list[Part]:
    """Seconds of the operation and of the bare statement that moves the same rows."""
    seconds = _points(result, "upkeep", "seconds")
    if not seconds:
        return []
    rows = [(p.subject, f"{p.x:,.0f}", figure(p.value), f"{p.x / p.value:,.0f}", f"{p.n}") for p in seconds]
    against = "; ".join(f"of the {name}, {bare}" for name, bare in BARE.items())
    text = f"What an operator waits for, and below each the bare statement that took turns with it: {against}."
    header = ("Work", "Messages", "Seconds", "Messages a second", "Rounds")
    return [Text(text), Table(header=header, rows=rows)]


def _timings(result: Result) -> list[Part]:
    if not result.timings:
        return []
    rows = [(each.what, f"{each.seconds:,.1f}") for each in result.timings]
    text = "Wall time of the parts. One with a colon is contained in the time of the part that it begins with."
    return [Text(text), Table(header=("Part", "Seconds"), rows=rows)]


def _run(result: Result) -> list[Part]:
    environment = result.environment
    shown: dict[str, object] = {"run": result.id, "began": result.created_at, "ended": result.finished_at or ""}
    for name, value in environment.items():
        if isinstance(value, dict):
            shown |= {f"{name}: {inner}": text for inner, text in value.items() if not isinstance(text, dict)}
            settings = value.get("settings")
            if isinstance(settings, dict):
                shown["postgresql: settings"] = ", ".join(f"{key}={text}" for key, text in settings.items())
        else:
            shown[name] = value
    shown |= {f"profile: {name}": value for name, value in result.parameters.items()}
    return [Table(header=("What", "Value"), rows=[(name, str(value)) for name, value in shown.items()], align="ll")]


def _points(result: Result, experiment: str, metric: str) -> list[Point]:
    return [p for p in result.points if (p.experiment, p.metric) == (experiment, metric)]


def _series(result: Result, experiment: str, metric: str) -> list[Series]:
    points = _points(result, experiment, metric)
    found = []
    for subject in dict.fromkeys(point.subject for point in points):
        own = [point for point in points if point.subject == subject]
        bounds = [point.interval for point in own if point.interval is not None and point.n >= _BAND]
        whole = bounds if len(bounds) == len(own) else []
        found.append(
            Series(
                STORE_NAMES.get(subject, subject),
                [point.x for point in own],
                [point.value for point in own],
                [bound.low for bound in whole],
                [bound.high for bound in whole],
            )
        )
    return found


def _metrics(result: Result, experiment: str) -> tuple[str, ...]:
    """What an experiment measured, in its order."""
    return tuple(dict.fromkeys(p.metric for p in result.points if p.experiment == experiment))


def _curve_table(result: Result, experiment: str, metrics: Sequence[str], header: str) -> Table:
    points = [p for p in result.points if p.experiment == experiment and p.metric in metrics]
    keys = list(dict.fromkeys((p.subject, p.x) for p in points))
    known = {(p.subject, p.x, p.metric): p for p in points}
    rows = []
    for subject, x in keys:
        cells = [known.get((subject, x, metric)) for metric in metrics]
        rows.append((STORE_NAMES.get(subject, subject), f"{x:,.0f}", *(_value(cell) for cell in cells)))
    return Table(
        header=("Server", header, *metrics), rows=rows, caption=_TOLD[experiment], align="lr" + "r" * len(metrics)
    )


def _value(point: Point | None) -> str:
    if point is None:
        return ""
    if point.unit == "µs":
        return microseconds(point.value)
    if point.unit == "B":
        return f"{point.value:,.0f} B"
    return f"{point.value:,.0f}" if point.value >= 100 else figure(point.value)
