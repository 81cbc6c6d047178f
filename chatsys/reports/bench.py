"""The page of a benchmark run: the decision first, then folded sections that explain it, pictures before tables."""

from __future__ import annotations

from collections.abc import Sequence

from chatsys.reports import floods
from chatsys.reports.decision import fragment
from chatsys.reports.page import Page, Part, Table, Text
from chatsys.reports.pictures import Series, bars, ecdf, lines
from chatsys.reports.tables import marked, operations_tables
from chatsys.results.claims import judge
from chatsys.results.decision import decide
from chatsys.results.distributions import SHARES, Distribution
from chatsys.results.names import MISSED, STORES, TITLES, UPKEEP, VERDICTS, store, title
from chatsys.results.numbers import count, duration, figure, times, with_unit
from chatsys.results.run import Baseline, Ratio, RatioTarget, Result, of_peers, points

_GROWTH = "growth: "
_ORIENTATION = (
    "For orientation, from another run: the original Node.js server on two cores stored 1,200 messages a second from"
    " one sender (p50 0.73 ms) and 3,700 from 64 (p50 17 ms)."
)
_CAPTIONS = {
    "senders": "The closed loop: times from sending to the sender's own echo; processor times are for one message.",
    "arrivals": "The open loop.",
    "push": "Times from the sender to each recipient, by the number of users connected in rooms of 20.",
    "fairness": "A room of two members, without and with a big room that gets 20 messages a second.",
    "slow reader": "A room that gets 2 MB a second, without and with a member that reads nothing.",
    "storm": "All members join one room within two seconds, and each gets the growing list of members.",
    "large room": "All members join one room as fast as the server accepts them, one sends, and three of five"
    " disconnect at once: how long each takes, and the latency of a client alone in another room meanwhile.",
    "workers": "One worker and two; processor times are for one message, summed over the workers.",
}
"""The captions of the experiments' tables."""
_OTHERS = {
    "push": "Users",
    "fairness": "Members of the other room",
    "slow reader": "Clients that do not read",
    "storm": "Members",
    "large room": "Members",
    "workers": "Senders",
}
"""Experiments with many users that have a table but no picture, and the meaning of their x."""
_BAND = 3  # with fewer rounds the interval is too wide to be drawn


def page(
    result: Result, distributions: Sequence[Distribution], between: Sequence[Part] = (), peers: Sequence[Part] = ()
) -> Page:
    """The whole report of a run, with parts about buses ``between`` servers and about other servers (``peers``)."""
    if of_peers(result):
        drawn = Page(title="chatsys beside other Socket.IO servers", subtitle=subtitle(result))
        drawn.add("What was found", *peers)
        peers = ()
    else:
        drawn = Page(title="Memory against PostgreSQL", subtitle=subtitle(result), lead=fragment(decide(result)))
    for heading, parts in (
        ("Verdicts in full", _verdicts(result)),
        ("At the client", operations_tables(result, "socket", "http")),
        ("Distance to the database", _distance(result)),
        ("Throughput against latency", [*_throughput(result), *_arrivals(result)]),
        ("Many users", _realtime(result)),
        ("Between servers", between),
        ("Other Socket.IO servers", peers),
        ("One client against all others", floods.parts(result)),
        ("Durability", _durability(result)),
        ("Growth", _growth(result)),
        ("Inside the process", _inside(result, distributions)),
        ("Is the difference real?", _certainty(result)),
        ("Targets", _targets(result)),
        ("Upkeep", _upkeep(result)),
        ("What each operation costs PostgreSQL", _costs(result)),
        ("Limitations", [Text("\n".join(f"- {sentence}" for sentence in result.limitations))]),
        ("Where the time went", _timings(result)),
        ("The run", _run(result)),
    ):
        drawn.add(heading, *parts, folded=True)
    return drawn


def subtitle(result: Result) -> str:
    """The line that identifies the run: its id, time, profile, commit and machine."""
    environment = result.environment
    commit = (environment.get("commit") or "")[:10] + (" with changes" if environment.get("dirty") else "")
    measured = f"commit {commit}" if commit else f"chatsys {environment.get('chatsys', 'of an unknown version')}"
    return (
        f"Run `{result.id}` of {result.created_at}, profile {result.profile}, seed {result.seed}, {measured}; "
        f"{environment.get('cpu', 'unknown processor')}, {environment.get('cpus', '?')} processors, "
        f"{environment.get('python', '')}."
    )


def _verdicts(result: Result) -> list[Part]:
    """Each promise with its rule; those that do not hold come first."""
    order = sorted(judge(result), key=lambda each: VERDICTS.index(each.verdict))
    rows = [
        (each.promise, f"**{each.verdict}**", "; ".join(map(marked, each.parts)),
         each.measured, each.rule)
        for each in order
    ]  # fmt: skip
    header = ("The guide's promise", "Verdict", "Its parts", "Measured", "Rule, set before the run")
    return [Table(header=header, rows=rows, align="lllll")]


def _distance(result: Result) -> list[Part]:
    """The guide's operations and sending, by the network delay between server and database."""
    found = points(result, "distance", "p50")
    if not found:
        return []
    names = list(dict.fromkeys(point.subject for point in found))
    delays = sorted({point.x for point in found})
    known = {(point.subject, point.x): point for point in found}
    series = []
    for name in names:
        own = [point for point in found if point.subject == name]
        series.append(Series(title(name), [p.x / 1000 for p in own], [p.value / 1000 for p in own]))
    caption = (
        "Calls of the PostgreSQL store through a proxy that delays each packet to and from the database, by the round"
        " trip measured through the proxy. At the first point the proxy adds no delay."
    )
    rows = [
        (title(name), *(duration(known[name, delay].value) for delay in delays if (name, delay) in known))
        for name in names
    ]
    return [
        lines("distance", caption, series, x="round trip to the database, milliseconds", y="p50, milliseconds"),
        Table(header=("Operation", *(f"{duration(delay)} away" for delay in delays)), rows=rows),
    ]


def _inside(result: Result, distributions: Sequence[Distribution]) -> list[Part]:
    """The same operations without network and protocol; they explain the client's figures."""
    parts: list[Part] = []
    for name, shown in TITLES.items():
        drawn = []
        for subject, label in (*STORES.items(), ("asyncpg", "bare asyncpg"), ("python", "plain Python")):
            key = ("table", name, subject, "store")
            own = [d for d in distributions if (d.experiment, d.operation, d.subject, d.depth) == key]
            drawn += [(label, each.microseconds, SHARES) for each in own]
        if drawn:
            caption = f"{shown}, inside the process: cumulative share of calls."
            parts.append(ecdf(f"ecdf-{name}", caption, drawn, x="microseconds"))
    return [*parts, *operations_tables(result, "store", "store x64"), *_baselines(result)]


def _baselines(result: Result) -> list[Part]:
    kinds = {"asyncpg": "bare asyncpg", "python": "dicts and lists", "socket.io": "Socket.IO echo"}
    rows = [
        (TITLES.get(each.operation, each.operation), store(each.store), kinds.get(each.kind, each.kind),
         duration(each.p50_us), _times(each))
        for each in result.baselines
    ]  # fmt: skip
    if not rows:
        return []
    noop = [o for o in result.operations if o.operation == "noop"]
    text = "The same work without chatsys, alternating with the stores. The baseline of getting 100 messages is a bare"
    text += " SELECT of the same rows without senders and receipts; that of sending is one INSERT and one COMMIT."
    if noop:
        text += f" The harness itself costs {duration(max(o.p50_us for o in noop))} a call (a no-op)."
    header = ("Operation", "Store", "Baseline", "Its median", "Times the baseline")
    return [Text(text), Table(header=header, rows=rows, align="lllrr")]


def _certainty(result: Result) -> list[Part]:
    """The ratios with their intervals, and what the rank test says."""
    if not result.ratios:
        return []
    text = (
        "PostgreSQL divided by memory: the geometric mean of the rounds' ratios with its 95 % interval. It is close to"
        " the ratio of the two medians over all rounds, but not equal to it. The verdict is slower or faster only if"
        " the rank test confirms it and the factor is above 1.05."
    )
    rows = [(TITLES.get(r.operation, r.operation), r.depth, _times(r), r.verdict) for r in result.ratios]
    header = ("Operation", "Depth", "PostgreSQL / memory", "PostgreSQL is")
    return [Text(text), Table(header=header, rows=rows, align="llrl")]


def _targets(result: Result) -> list[Part]:
    """Ratios of two subjects that alternated in this run, with the target of each."""
    if not result.targets:
        return []
    text = "Each is a ratio of two subjects that alternated in this run, with its 95 % interval over the rounds."
    missed = [target.what for target in result.targets if target.verdict.startswith(MISSED)]
    text += f" Not reached: {'; '.join(missed)}." if missed else " Every target was reached."
    header = ("Ratio", "Measured", "Target", "Verdict", "Rounds")
    return [Text(text), Table(header=header, rows=[_target(target) for target in result.targets], align="lrrlr")]


def _target(target: RatioTarget) -> tuple[str, str, str, str, str]:
    wanted = "" if target.bound is None else f"{'≥' if target.at_least else '≤'} {target.bound:g}"
    verdict = target.verdict.replace(MISSED, f"**{MISSED}**")
    return target.what, ("≥ " if target.lower_bound else "") + _times(target), wanted, verdict, f"{target.rounds}"


def _times(each: RatioTarget | Ratio | Baseline) -> str:
    if each.interval is None:
        return times(each.ratio)
    return times(each.ratio, each.interval.low, each.interval.high)


def _growth(result: Result) -> list[Part]:
    parts: list[Part] = []
    for name, shown in TITLES.items():
        series = _series(result, _GROWTH + name, "p50")
        if series:
            caption = f"{shown}, inside the process: p50 with n users and n messages in the store."
            parts.append(lines(f"growth-{name}", caption, series, x="n", y="microseconds", log_x=True, log_y=True))
    rows = [
        (TITLES[fit.operation], store(fit.store), f"{fit.exponent:z.2f}",
         f"{fit.interval.low:z.2f} to {fit.interval.high:z.2f}")
        for fit in result.fits
    ]  # fmt: skip
    if rows:
        parts.append(Table(header=("Operation", "Store", "Exponent b of n^b", "Interval"), rows=rows, align="llrr"))
    sizes = [p for p in result.points if p.experiment == "bytes"]
    if sizes:
        largest = max(p.x for p in sizes)
        rows = [(store(p.subject), p.metric, f"{p.value:,.0f}", f"{1024**3 / max(p.value, 1):,.0f}")
                for p in sizes if p.x == largest]  # fmt: skip
        caption = f"At {count(largest)} users and messages; a message with its receipts and indexes."
        parts.append(Table(header=("Store", "Cost", "Bytes", "In 1 GiB"), rows=rows, align="llrr", caption=caption))
    return parts


def _throughput(result: Result) -> list[Part]:
    rates, middles = points(result, "senders", "messages/s"), points(result, "senders", "p50")
    subjects = list(dict.fromkeys(point.subject for point in rates))
    if not subjects:
        return []
    series = []
    for subject in subjects:
        x = [point.value for point in rates if point.subject == subject]
        y = [point.value / 1000 for point in middles if point.subject == subject]
        series.append(Series(store(subject), x, y))
    counts = ", ".join(f"{point.x:,.0f}" for point in rates if point.subject == subjects[0])
    caption = (
        f"Closed loop: each point is a number of senders ({counts}). Each is alone in a room and sends its next message"
        f" after the echo of the last. {_ORIENTATION}"
    )
    table = _curve_table(result, "senders", _metrics(result, "senders"), "Senders")
    picture = lines("throughput", caption, series, x="messages a second", y="p50, milliseconds", log_y=True)
    return [picture, table]


def _arrivals(result: Result) -> list[Part]:
    """The open loop: response times from the intended start, and service times from the actual one."""
    series = []
    for subject in dict.fromkeys(p.subject for p in result.points if p.experiment == "arrivals"):
        for metric in ("response p99", "service p99"):
            own = points(result, "arrivals", metric, subject)
            y = [point.value / 1000 for point in own]
            series.append(Series(f"{store(subject)}, {metric}", [point.x for point in own], y))
    if not series:
        return []
    caption = (
        "Open loop: messages are sent at the times of a Poisson process, at shares of the rate that the same server"
        " reached in the closed loop. Response time counts from the intended start, service time from the actual one."
    )
    metrics = ("share", "response p50", "response p99", "service p50", "service p99")
    picture = lines("arrivals", caption, series, x="messages a second", y="p99, milliseconds", log_y=True)
    return [picture, _curve_table(result, "arrivals", metrics, "Messages a second")]


def _durability(result: Result) -> list[Part]:
    parts: list[Part] = []
    if result.persistence:
        rows = [(store(each.store), "chat server" if each.killed == "server" else store(each.killed),
                 count(each.acknowledged), count(each.missing)) for each in result.persistence]  # fmt: skip
        parts.append(Table(header=("Store", "Killed with SIGKILL", "Acknowledged", "Missing"), rows=rows, align="llrr"))
    levels = points(result, "durability", "messages/s")
    if levels:
        caption = (
            "Messages stored a second by 64 callers, from the least durable level to the most durable one. The last bar"
            " is a bare connection without a store; it commits each message before it sends the next."
        )
        parts.append(bars("durability", caption, [(p.subject, p.value) for p in levels], x="messages a second"))
    return parts


def _realtime(result: Result) -> list[Part]:
    parts: list[Part] = []
    for experiment, metric, x, y, caption, log_y in (
        ("fanout", "deliveries/s", "members of the room", "deliveries a second",
         "One message to a room, counted at the receivers. Limitations name each saturated generator.",
         False),
        ("receipts", "seconds", "members of the room", "seconds",
         "One message that all members read at once: the time until each has every update.", True),
    ):  # fmt: skip
        series = _series(result, experiment, metric)
        if series:
            parts.append(lines(experiment, caption, series, x=x, y=y, log_x=True, log_y=log_y))
    workers = points(result, "workers", "messages/s")
    if workers:
        caption = f"{workers[0].x:,.0f} senders, each alone in a room, on one worker process and on two."
        parts.append(bars("workers", caption, [(p.subject, p.value) for p in workers], x="messages a second"))
    idle = points(result, "idle", "bytes a connection")
    if idle:
        values = [(store(p.subject), p.value / 1024) for p in idle]
        parts.append(bars("idle", "Resident memory of the server for each idle connection.", values, x="KiB"))
    for experiment, header in _OTHERS.items():
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
                  caption="Counted by PostgreSQL, for each call.")]  # fmt: skip


def _upkeep(result: Result) -> list[Part]:
    """The time of each operation and of the bare statement that moves the same rows."""
    seconds = points(result, "upkeep", "seconds")
    if not seconds:
        return []
    rows = [(p.subject, count(p.x), duration(p.value * 1e6), count(p.x / p.value), f"{p.n}") for p in seconds]
    against = "; ".join(f"of the {name}, {bare}" for name, bare in UPKEEP.items())
    text = f"Work that an operator waits for, and below each the bare statement that alternated with it: {against}."
    header = ("Work", "Messages", "Time", "Messages a second", "Rounds")
    return [Text(text), Table(header=header, rows=rows)]


def _timings(result: Result) -> list[Part]:
    if not result.timings:
        return []
    rows = [(each.what, f"{each.seconds:,.1f}") for each in result.timings]
    text = "Wall time of the parts. The time of `a: b` is contained in the time of `a`."
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


def _series(result: Result, experiment: str, metric: str) -> list[Series]:
    found = []
    for subject in dict.fromkeys(point.subject for point in points(result, experiment, metric)):
        own = points(result, experiment, metric, subject)
        bounds = [point.interval for point in own if point.interval is not None and point.n >= _BAND]
        whole = bounds if len(bounds) == len(own) else []
        low, high = [bound.low for bound in whole], [bound.high for bound in whole]
        found.append(Series(store(subject), [point.x for point in own], [point.value for point in own], low, high))
    return found


def _metrics(result: Result, experiment: str) -> tuple[str, ...]:
    """The metrics of an experiment in their recorded order."""
    return tuple(dict.fromkeys(p.metric for p in result.points if p.experiment == experiment))


def _curve_table(result: Result, experiment: str, metrics: Sequence[str], header: str) -> Table:
    points = [p for p in result.points if p.experiment == experiment and p.metric in metrics]
    known = {(p.subject, p.x, p.metric): with_unit(p.value, p.unit) for p in points}
    rows = [
        (store(subject), f"{x:,.0f}", *(known.get((subject, x, metric), "") for metric in metrics))
        for subject, x in dict.fromkeys((p.subject, p.x) for p in points)
    ]
    return Table(header=("Server", header, *metrics), rows=rows, caption=_CAPTIONS[experiment])
