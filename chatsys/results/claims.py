"""The guide's promises and the rules that judge them. The rules were written before the run that they judge.

A rule reads a record and returns what was measured and which parts of the promise were kept; each part has its own
verdict. What a run did not measure is not judged. Times are those of a client: HTTP or Socket.IO.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from chatsys.results import names
from chatsys.results.names import FIND_BY_ID, FIND_BY_NAME, MARK_READ, RECENT, SEARCH, SEND, STORES, TITLES, store
from chatsys.results.numbers import brief_duration, change, count, duration, durations_arrow, figure, size
from chatsys.results.run import RESULT, SAMPLES, ClaimPart, Fit, Judgement, Result, held, operation, points

LINEAR = 0.7
"""If the interval of an exponent lies above this, the time grows about linearly."""
FLAT = 0.3
"""If the interval lies below this, the time grows like a logarithm at most (log n over 10³ to 10⁶ is 0.1)."""
DECADES = 4
"""A statement about growth needs this many sizes, a decade apart."""
MANY_USERS = 1_000_000
MANY_SOCKETS = 2_000
_GIB = 1024**3


class ClaimFinding(NamedTuple):
    """What was measured, briefly as ``memory → PostgreSQL`` and in full, and which parts of the promise were kept."""

    brief: str
    measured: str
    parts: tuple[ClaimPart, ...]


class Claim(NamedTuple):
    """One promise with the guide's figures. ``evidence`` says which file of a run has the measurements."""

    name: str
    title: str
    guide: str
    promise: str
    rule: str
    judge: Callable[[Result], ClaimFinding | None]
    evidence: str


def judge(result: Result) -> list[Judgement]:
    """Judge every claim by this run."""
    return [_judged(claim, claim.judge(result)) for claim in CLAIMS]


def _judged(claim: Claim, found: ClaimFinding | None) -> Judgement:
    if found is None:
        found, verdict = ClaimFinding("", "This run did not measure it.", ()), names.UNKNOWN
    else:
        kept = [part.kept for part in found.parts]
        verdict = names.HOLDS if all(kept) else names.PARTLY if any(kept) else names.FAILS
    copied = {field: getattr(claim, field) for field in ("title", "guide", "promise", "rule")}
    return Judgement(claim=claim.name, verdict=verdict, samples=claim.evidence, **copied, **found._asdict())


def _time_promise(name: str, depth: str, limit_us: float, *, faster: bool) -> Callable[[Result], ClaimFinding | None]:
    """PostgreSQL's median at the client is within ``limit_us``; with ``faster`` it is also not slower than memory's."""

    def rule(result: Result) -> ClaimFinding | None:
        memory, postgresql = (operation(result, name, each, depth) for each in STORES)
        if memory is None or postgresql is None:
            return None
        limit, within = brief_duration(limit_us), postgresql.p50_us <= limit_us
        parts = [_part(f"{'within' if within else 'over'} {limit}", within)]
        if faster:
            verdict = next((r.verdict for r in result.ratios if (r.operation, r.depth) == (name, depth)), "same")
            words = {"slower": "not faster", "same": "no slower", "faster": "faster"}[verdict]
            parts.append(_part(f"{words}: {change(memory.p50_us, postgresql.p50_us)}", verdict != "slower"))
        measured = (
            f"Half of the calls took at most {duration(memory.p50_us)} on memory and {duration(postgresql.p50_us)} on"
            f" PostgreSQL ({change(memory.p50_us, postgresql.p50_us)}), with {held(result, postgresql)}."
        )
        return ClaimFinding(durations_arrow(memory.p50_us, postgresql.p50_us), measured, tuple(parts))

    return rule


def _search(result: Result) -> ClaimFinding | None:
    found = _growth(result, (SEARCH,))
    if found is None:
        return None
    memory, postgresql = (operation(result, SEARCH, each, "http") for each in STORES)
    if memory is not None and postgresql is not None and memory.users:
        brief = f"{durations_arrow(memory.p50_us, postgresql.p50_us)} among {count(memory.users)} users"
    else:
        curves = [points(result, f"growth: {SEARCH}", "p50", each) for each in STORES]
        if not all(curves):
            return found
        ends = [curve[-1] for curve in curves]
        brief = f"{durations_arrow(ends[0].value, ends[1].value)} in the store, among {count(ends[0].x)} users"
    return found._replace(brief=brief)


def _all_growth(result: Result) -> ClaimFinding | None:
    return _growth(result, (FIND_BY_ID, FIND_BY_NAME, RECENT, SEARCH))


def _growth(result: Result, reads: Sequence[str]) -> ClaimFinding | None:
    """Two parts: PostgreSQL is flat, and memory is linear."""
    fits = [_fit(result, name, each) for name in reads for each in STORES]
    known = [fit for fit in fits if fit is not None]
    if len(known) < len(fits) or any(len(fit.sizes) < DECADES for fit in known):
        return None
    grows = [fit for fit in known if fit.store == "postgresql" and fit.interval.high > FLAT]
    short = [fit for fit in known if fit.store == "memory" and fit.interval.low < LINEAR]
    largest = count(max(known[0].sizes))
    flat = _part(f"PostgreSQL: {_list(grows)} grows" if grows else f"PostgreSQL: flat up to {largest}", not grows)
    words = "memory: grows with the number" if not short else f"memory: {_list(short)} is not linear"
    if len(short) > 1:
        words = f"memory: {len(short)} of {len(reads)} are not linear"
    measured = "Exponents b of n^b: " + "; ".join(
        f"{TITLES[fit.operation].lower()}, {store(fit.store)} {fit.exponent:z.2f}"
        f" ({fit.interval.low:z.2f} to {fit.interval.high:z.2f})"
        for fit in known
    )
    brief = f"{len(reads)} kinds of read, up to {largest} users and messages"
    return ClaimFinding(brief, measured + ".", (flat, _part(words, not short)))


def _list(fits: Sequence[Fit]) -> str:
    return " and ".join(TITLES[fit.operation].lower() for fit in fits)


def _persistence(result: Result) -> ClaimFinding | None:
    kills = {each: [s for s in result.persistence if s.store == each] for each in STORES}
    if not all(kills.values()):
        return None
    measured = "; ".join(
        f"{store(each.store)}, {store(each.killed)} killed: {each.missing:,} of {each.acknowledged:,} acknowledged"
        " messages missing"
        for each in result.persistence
    )
    sums = {name: (sum(s.acknowledged for s in those), sum(s.missing for s in those)) for name, those in kills.items()}
    kept = [f"{sent - lost:,} of {sent:,}" for sent, lost in (sums[each] for each in STORES)]
    missing = sums["postgresql"][1]
    words = "nothing acknowledged was lost" if not missing else f"{missing:,} acknowledged messages were lost"
    return ClaimFinding(f"{kept[0]} → {kept[1]} kept after kill -9", measured + ".", (_part(words, not missing),))


def _size_promise(kind: str, reads: Sequence[str]) -> Callable[[Result], ClaimFinding | None]:
    """How many users or messages fit into 1 GiB, and whether reads stay as fast at the largest size."""

    def rule(result: Result) -> ClaimFinding | None:
        costs = [points(result, "bytes", f"bytes per {kind}", each) for each in STORES]
        fits = [fit for name in reads if (fit := _fit(result, name, "postgresql")) is not None]
        if not all(costs) or len(fits) < len(reads) or len(fits[0].sizes) < DECADES:
            return None
        ram, disk = (max(each, key=lambda point: point.x).value for each in costs)
        fit_in = [count(float(f"{_GIB / max(each, 1):.2g}")) for each in (ram, disk)]
        largest = max(fits[0].sizes)
        exponents = ", ".join(f"{TITLES[fit.operation].lower()} {fit.exponent:z.2f}" for fit in fits)
        measured = (
            f"A {kind} costs {size(ram)} of RAM in memory and {size(disk)} on disk in PostgreSQL: 1 GiB holds"
            f" {fit_in[0]} and {fit_in[1]}. Reads were measured up to {count(largest)}; exponents: {exponents}."
        )
        flat = all(fit.interval.high <= FLAT for fit in fits)
        parts = [_part(f"reads {'stay flat' if flat else 'grow'} up to {count(largest)}", flat)]
        if kind == "user":
            enough = largest >= MANY_USERS
            parts.append(_part("a million tried" if enough else f"more than {count(largest)} not tried", enough))
        else:
            parts.append(_part("not unlimited: a disk fills up", False))
        return ClaimFinding(f"{fit_in[0]} in 1 GiB of RAM → {fit_in[1]} of disk", measured, tuple(parts))

    return rule


def _two_servers(result: Result) -> ClaimFinding | None:
    found = {each.metric: each.value for each in result.counts if each.subject == "two servers"}
    if not found:
        return None
    wrong = faults(found)
    measured = f"Two servers on one database, each with members of the room: {_counted(found)}"
    target = next((target for target in result.targets if "two workers" in target.what), None)
    if target is not None:
        bounds = f" ({figure(target.interval.low)} to {figure(target.interval.high)})" if target.interval else ""
        measured += f"; two workers stored {figure(target.ratio)}{bounds} times as many messages a second as one"
    good = found.get("deliveries", 0) > 0 and not wrong
    words = "each message once, in order" if good else f"{wrong or 'nothing'} delivered"
    return ClaimFinding(
        f"{count(found['deliveries'])} deliveries by two servers", measured + ".", (_part(words, good),)
    )


def _backup(result: Result) -> ClaimFinding | None:
    found = {each.metric: each.value for each in result.counts if each.subject == "backup"}
    if not found:
        return None
    differ = found.get("tables that differ", 1)
    words = "restored alike" if not differ else f"{count(differ)} tables differ"
    brief = f"{count(found.get('tables compared', 0))} tables dumped and restored"
    return ClaimFinding(brief, f"Dumped and restored: {_counted(found)}.", (_part(words, differ == 0),))


def _same_client(result: Result) -> ClaimFinding | None:
    wanted = [(name, depth, each) for name, depth in ((FIND_BY_ID, "http"), (RECENT, "http"), (SEARCH, "http"),
              (SEND, "socket"), (MARK_READ, "socket")) for each in STORES]  # fmt: skip
    found = [operation(result, name, each, depth) for name, depth, each in wanted]
    calls = sum(each.n for each in found if each is not None)
    if not calls or None in found:
        return None
    measured = f"One client with the contract's events and paths, {calls:,} calls on both stores, each answer checked."
    return ClaimFinding(f"{calls:,} calls, each answer checked", measured, (_part("every answer as before", True),))


def _concurrency(result: Result) -> ClaimFinding | None:
    sizes = [point.x for point in points(result, "fanout", "deliveries/s", "postgresql")]
    if not sizes:
        return None
    most = max(sizes)
    wrong = [reason for reason in result.reasons if "fan-out" in reason]
    words = "; ".join(wrong) or "nothing lost, doubled or out of order"
    enough = most >= MANY_SOCKETS
    reach = f"{count(most)} clients" if enough else f"more than {count(most)} clients not tried"
    measured = f"{count(most)} clients in one room, every message counted at each of them: {words}."
    parts = (_part(words, not wrong), _part(reach, enough))
    return ClaimFinding(f"{count(most)} clients in one room", measured, parts)


def _part(words: str, kept: bool) -> ClaimPart:
    return ClaimPart(words=words, kept=kept)


def faults(found: dict[str, float]) -> str:
    """The faults of audited deliveries as text; empty if there are none."""
    return ", ".join(f"{count(found[name])} {name}" for name in ("lost", "doubled", "swapped") if found.get(name))


def _counted(found: dict[str, float]) -> str:
    """The counts as text; a metric of bytes or seconds has its unit."""
    shown = []
    for metric, value in found.items():
        if metric.startswith("seconds"):
            shown.append(f"{duration(value * 1e6)}{metric.removeprefix('seconds')}")
        elif metric == "bytes":
            shown.append(size(value))
        else:
            shown.append(f"{metric} {count(value)}")
    return ", ".join(shown)


def _fit(result: Result, name: str, store_name: str) -> Fit | None:
    return next((fit for fit in result.fits if (fit.operation, fit.store) == (name, store_name)), None)


_TIME_RULE = "{}PostgreSQL's median at the client is at most {} ms{}."
_TWO = "Two parts: "
_FASTER = "; it is not slower than memory's (rank test and a factor of 1.05)"

CLAIMS: tuple[Claim, ...] = (
    Claim("persistence", "Data survive a crash", "no → yes", "Data persistence: no in memory, yes in PostgreSQL.",
          "After SIGKILL to the server and to PostgreSQL in mid-traffic, PostgreSQL has every acknowledged message.",
          _persistence, f"{RESULT}: persistence"),
    Claim("find_user", "Find a user", "1 → 0.5 ms", "Find a user: ~1 ms in memory, ~0.5 ms in PostgreSQL.",
          _TIME_RULE.format(_TWO, 0.5, _FASTER),
          _time_promise(FIND_BY_ID, "http", 500, faster=True), f"{SAMPLES}: operation find_user_by_id, depth http"),
    Claim("recent_messages", "Get 100 messages", "2 → 1 ms", "Get 100 messages: ~2 ms in memory, ~1 ms in PostgreSQL.",
          _TIME_RULE.format(_TWO, 1, _FASTER),
          _time_promise(RECENT, "http", 1_000, faster=True), f"{SAMPLES}: operation recent_messages, depth http"),
    Claim("mark_read", "Mark a message read", "1 → 2 ms",
          "Mark a message read: ~1 ms in memory, ~2 ms in PostgreSQL (a transaction).", _TIME_RULE.format("", 2, ""),
          _time_promise(MARK_READ, "socket", 2_000, faster=False), f"{SAMPLES}: operation mark_read, depth socket"),
    Claim("search_users", "Search users", "grows → flat", "Search users: O(n) in memory, O(log n) in PostgreSQL.",
          f"Two parts, over {DECADES} sizes a decade apart: the fitted exponent's interval lies below {FLAT} in"
          f" PostgreSQL; it lies above {LINEAR} in memory.",
          _search, f"{SAMPLES}: experiment growth, operation search_users"),
    Claim("multi_server", "Several servers, one database", "yes", "Several servers can share one PostgreSQL.",
          "Members on two servers get each message of one room once, in order. The throughput that a second worker adds"
          " is stated and not judged, because the database and the load generator share the processors.",
          _two_servers, f"{RESULT}: counts and targets"),
    Claim("clients", "Clients need no change", "yes", "No client-side changes.",
          "One client performs every operation over HTTP and Socket.IO on both stores, and each answer is correct.",
          _same_client, f"{SAMPLES}: depths http and socket"),
    Claim("concurrency", "Many users at once", "thousands", "Thousands of concurrent users.",
          f"Two parts: every member of one room gets each message once, in order; at least {MANY_SOCKETS:,} clients"
          " were in the room.", _concurrency, f"{RESULT}: points"),
    Claim("backup", "Easy backup", "yes", "Easy backup and restore.",
          "In a restored dump of the loaded database, each table has the same checksum.",
          _backup, f"{RESULT}: counts"),
    Claim("users", "Number of users", "RAM → millions", "Users: limited by RAM in memory, millions in PostgreSQL.",
          f"Two parts: the intervals of the reads' exponents lie below {FLAT}; {MANY_USERS:,} users were tried.",
          _size_promise("user", (FIND_BY_ID, FIND_BY_NAME)), f"{SAMPLES}: experiment growth"),
    Claim("messages", "Number of messages", "RAM → unlimited",
          "Messages: limited by RAM in memory, unlimited in PostgreSQL (with clean-up).",
          f"Two parts: the interval of the exponent of reading a page lies below {FLAT} over four sizes a decade apart;"
          " the number is unlimited, which no disk allows.",
          _size_promise("message", (RECENT,)), f"{SAMPLES}: experiment growth"),
    Claim("queries", "Every read", "O(n) → O(log n)",
          "Queries: O(n) linear in memory, O(log n) with indexes in PostgreSQL.",
          f"Two parts: all exponents' intervals lie below {FLAT} in PostgreSQL; all lie above {LINEAR} in memory.",
          _all_growth, f"{SAMPLES}: experiment growth"),
)  # fmt: skip
