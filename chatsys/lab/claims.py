"""The guide's promises, and the rules that judge them. The rules are code: they were written before any run.

A rule looks at a record and says what was measured and which verdict that is. What a run did not measure is not judged.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from chatsys.lab.record import RESULT, SAMPLES, Fit, Judgement, Operation, Result
from chatsys.lab.workloads.operation import FIND_BY_ID, FIND_BY_NAME, MARK_READ, RECENT, SEARCH, SEND

HOLDS, CONDITIONS, FAILS, UNKNOWN = "holds", "holds with conditions", "does not hold", "not measured"
VERDICTS = (FAILS, CONDITIONS, HOLDS, UNKNOWN)
"""In the order in which a report shows them."""
LINEAR = 0.7
"""An exponent's interval above this: the time grows about as the size does."""
FLAT = 0.3
"""An exponent's interval below this: the time grows like a logarithm, or not at all (log n over 10³ to 10⁶ is 0.1)."""
DECADES = 4
"""Sizes, a decade apart, that a statement about growth needs."""
MANY_USERS = 1_000_000
MANY_SOCKETS, SOME_SOCKETS = 2_000, 500
_GIB = 1024**3
_CROWD = 64

STORE_NAMES = {"memory": "memory", "postgresql": "PostgreSQL"}

Finding = tuple[str, str]
"""A verdict, and what was measured."""


class Claim(NamedTuple):
    """One promise. ``evidence`` says where what was measured lies."""

    name: str
    promise: str
    rule: str
    judge: Callable[[Result], Finding | None]
    evidence: str


def judge(result: Result) -> list[Judgement]:
    """Every claim, judged by this run."""
    found = []
    for claim in CLAIMS:
        verdict, measured = claim.judge(result) or (UNKNOWN, "This run did not measure it.")
        found.append(
            Judgement(
                claim=claim.name,
                promise=claim.promise,
                rule=claim.rule,
                measured=measured,
                verdict=verdict,
                samples=claim.evidence,
            )
        )
    return found


def _time_promise(name: str, limit_us: float, *, faster: bool) -> Callable[[Result], Finding | None]:
    """PostgreSQL within ``limit_us``; with ``faster`` also not slower than memory; 64 at a time as the condition."""

    def rule(result: Result) -> Finding | None:
        memory, postgresql = (_operation(result, name, store) for store in ("memory", "postgresql"))
        if memory is None or postgresql is None:
            return None
        crowded = _operation(result, name, "postgresql", f"store x{_CROWD}")
        share = None if crowded is None else crowded.p50_us / _CROWD
        verdict = next((r.verdict for r in result.ratios if (r.operation, r.depth) == (name, "store")), "same")
        measured = (
            f"Memory {_time(memory.p50_us)}, PostgreSQL {_time(postgresql.p50_us)} (p50): PostgreSQL is {verdict}"
            f"{' than memory' if verdict != 'same' else ' as memory'}."
        )
        if share is not None:
            measured += f" With {_CROWD} at a time PostgreSQL needs {_time(share)} a call."
        in_time = postgresql.p50_us <= limit_us
        if in_time and not (faster and verdict == "slower"):
            return HOLDS, measured
        if in_time or (share is not None and share <= limit_us):
            return CONDITIONS, measured
        return FAILS, measured

    return rule


def _search_growth(result: Result) -> Finding | None:
    return _growth(result, (SEARCH,))


def _all_growth(result: Result) -> Finding | None:
    return _growth(result, (FIND_BY_ID, FIND_BY_NAME, RECENT, SEARCH))


def _growth(result: Result, names: Sequence[str]) -> Finding | None:
    """Memory linear and PostgreSQL flat holds; PostgreSQL flat alone holds with conditions."""
    fits = [_fit(result, name, store) for name in names for store in ("memory", "postgresql")]
    known = [fit for fit in fits if fit is not None]
    if len(known) < len(fits) or any(len(fit.sizes) < DECADES for fit in known):
        return None
    flat = all(fit.interval.high <= FLAT for fit in known if fit.store == "postgresql")
    linear = all(fit.interval.low >= LINEAR for fit in known if fit.store == "memory")
    measured = "Exponents of size: " + "; ".join(
        f"{fit.operation} in {STORE_NAMES[fit.store]} {fit.exponent:z.2f}"
        f" ({fit.interval.low:z.2f} to {fit.interval.high:z.2f})"
        for fit in known
    )
    return (HOLDS if flat and linear else CONDITIONS if flat else FAILS), measured + "."


def _persistence(result: Result) -> Finding | None:
    postgresql = [each for each in result.persistence if each.store == "postgresql"]
    memory = [each for each in result.persistence if each.store == "memory"]
    if not postgresql or not memory:
        return None
    measured = "; ".join(
        f"{STORE_NAMES[each.store]}, {STORE_NAMES.get(each.killed, each.killed)} killed:"
        f" {each.missing:,} of {each.acknowledged:,} acknowledged messages missing"
        for each in result.persistence
    )
    lost_none = all(each.missing == 0 for each in postgresql)
    lost_all = all(each.missing == each.acknowledged for each in memory)
    return (HOLDS if lost_none and lost_all else FAILS), measured + "."


def _room(kind: str, names: Sequence[str]) -> Callable[[Result], Finding | None]:
    """How many fit, and whether the reads at the largest size still take what they took at the smallest."""

    def rule(result: Result) -> Finding | None:
        costs = {store: _largest(result, store, f"bytes per {kind}") for store in ("memory", "postgresql")}
        fits = [fit for name in names if (fit := _fit(result, name, "postgresql")) is not None]
        if None in costs.values() or len(fits) < len(names) or len(fits[0].sizes) < DECADES:
            return None
        ram, disk = (costs[store] or 0.0 for store in ("memory", "postgresql"))
        most = max(fits[0].sizes)
        measured = (
            f"A {kind} costs {ram:,.0f} bytes of RAM in memory and {disk:,.0f} on disk in PostgreSQL: 1 GiB holds"
            f" {_GIB / max(ram, 1):,.0f} and {_GIB / max(disk, 1):,.0f}. Reads were measured up to {most:,};"
            f" exponents {', '.join(f'{fit.operation} {fit.exponent:z.2f}' for fit in fits)}."
        )
        if any(fit.interval.high > FLAT for fit in fits):
            return FAILS, measured
        return (HOLDS if most >= MANY_USERS and kind == "user" else CONDITIONS), measured

    return rule


def _servers(result: Result) -> Finding | None:
    found = {count.metric: count.value for count in result.counts if count.subject == "two servers"}
    if not found:
        return None
    measured = ", ".join(f"{metric}: {value:,.0f}" for metric, value in found.items())
    for mark in result.marks:
        if mark.what.endswith("two workers over one"):
            bounds = f" ({mark.interval.low:.2f} to {mark.interval.high:.2f})" if mark.interval else ""
            measured += f"; two workers stored {mark.ratio:.2f}{bounds} times as many messages a second as one"
    good = found.get("deliveries", 0) > 0 and not any(found.get(fault, 0) for fault in ("lost", "doubled", "swapped"))
    return (HOLDS if good else FAILS), f"Two servers on one database, each with members of the room: {measured}."


def _backup(result: Result) -> Finding | None:
    found = {count.metric: count.value for count in result.counts if count.subject == "backup"}
    if not found:
        return None
    measured = ", ".join(f"{metric} {value:,.3g}" for metric, value in found.items())
    return (HOLDS if found.get("tables that differ", 1) == 0 else FAILS), f"Dumped and restored: {measured}."


def _same_client(result: Result) -> Finding | None:
    wanted = [(name, depth, store) for name, depth in ((FIND_BY_ID, "http"), (RECENT, "http"), (SEARCH, "http"),
              (SEND, "socket"), (MARK_READ, "socket")) for store in ("memory", "postgresql")]  # fmt: skip
    found = [_operation(result, name, store, depth) for name, depth, store in wanted]
    calls = sum(each.n for each in found if each is not None)
    if not calls or None in found:
        return None
    return (
        HOLDS,
        f"One client with the contract's events and paths, {calls:,} calls on both stores, each answer checked.",
    )


def _crowd(result: Result) -> Finding | None:
    sizes = [p.x for p in result.points if p.experiment == "fanout" and p.subject == "postgresql"]
    if not sizes:
        return None
    most = max(sizes)
    faults = [reason for reason in result.reasons if "fan-out" in reason]
    measured = f"{most:,.0f} clients in one room, every message counted at each of them"
    if faults:
        return FAILS, f"{measured}: {'; '.join(faults)}."
    verdict = HOLDS if most >= MANY_SOCKETS else CONDITIONS if most >= SOME_SOCKETS else UNKNOWN
    return verdict, f"{measured}: none lost, doubled or swapped."


def _operation(result: Result, name: str, store: str, depth: str = "store") -> Operation | None:
    return next((o for o in result.operations if (o.operation, o.store, o.depth) == (name, store, depth)), None)


def _fit(result: Result, name: str, store: str) -> Fit | None:
    return next((fit for fit in result.fits if (fit.operation, fit.store) == (name, store)), None)


def _largest(result: Result, store: str, metric: str) -> float | None:
    found = [p for p in result.points if (p.experiment, p.subject, p.metric) == ("bytes", store, metric)]
    return max(found, key=lambda point: point.x).value if found else None


def _time(microseconds: float) -> str:
    return f"{microseconds:.3g} µs" if microseconds < 1000 else f"{microseconds / 1000:.3g} ms"


_TIME_RULE = (
    "Holds if PostgreSQL's p50 of a store call is at most {} ms{}. With conditions if only {}that, or {} at a time"
    " need at most as long each. Otherwise it does not hold."
)
_FASTER = " and it is not slower than memory (rank test and a factor of 1.05)"

CLAIMS: tuple[Claim, ...] = (
    Claim("find_user", "Find a user: ~1 ms in memory, ~0.5 ms in PostgreSQL.",
          _TIME_RULE.format(0.5, _FASTER, "the first of ", _CROWD),
          _time_promise(FIND_BY_ID, 500, faster=True), f"{SAMPLES}: operation find_user_by_id"),
    Claim("recent_messages", "Get 100 messages: ~2 ms in memory, ~1 ms in PostgreSQL.",
          _TIME_RULE.format(1, _FASTER, "the first of ", _CROWD),
          _time_promise(RECENT, 1_000, faster=True), f"{SAMPLES}: operation recent_messages"),
    Claim("mark_read", "Mark a message read: ~1 ms in memory, ~2 ms in PostgreSQL (a transaction).",
          _TIME_RULE.format(2, "", "", _CROWD),
          _time_promise(MARK_READ, 2_000, faster=False), f"{SAMPLES}: operation mark_read"),
    Claim("search_users", "Search users: O(n) in memory, O(log n) in PostgreSQL.",
          f"Over {DECADES} sizes a decade apart: holds if the fitted exponent's interval lies above {LINEAR} in memory"
          f" and below {FLAT} in PostgreSQL; with conditions if only the latter.",
          _search_growth, f"{SAMPLES}: experiment growth, operation search_users"),
    Claim("persistence", "Data persistence: no in memory, yes in PostgreSQL.",
          "After SIGKILL in mid-traffic, of the server and of PostgreSQL: holds if PostgreSQL misses no acknowledged"
          " message and memory misses all.",
          _persistence, f"{RESULT}: counts"),
    Claim("users", "Users: limited by RAM in memory, millions possible in PostgreSQL.",
          f"Holds if reads were measured up to {MANY_USERS:,} users and their exponents' intervals lie below {FLAT};"
          " with conditions if up to fewer, four sizes a decade apart.",
          _room("user", (FIND_BY_ID, FIND_BY_NAME)), f"{SAMPLES}: experiment growth"),
    Claim("messages", "Messages: limited by RAM in memory, unlimited in PostgreSQL (with clean-up).",
          f"At best with conditions, since a disk ends too: the page's exponent must have its interval below {FLAT}"
          " over four sizes a decade apart, and bytes a message are stated.",
          _room("message", (RECENT,)), f"{SAMPLES}: experiment growth"),
    Claim("queries", "Queries: O(n) linear in memory, O(log n) with indexes in PostgreSQL.",
          f"As search_users, for every read. Holds only if all are linear in memory (above {LINEAR}); with conditions"
          f" if all are flat in PostgreSQL (below {FLAT}).",
          _all_growth, f"{SAMPLES}: experiment growth"),
    Claim("multi_server", "Several servers can share one PostgreSQL.",
          "Holds if members on two servers get each message of one room once, in sequence. What a second worker adds to"
          " throughput is stated and not judged: the processors are shared with the database and the load generator.",
          _servers, f"{RESULT}: counts and marks"),
    Claim("backup", "Easy backup and restore.",
          "Holds if a restored dump of the loaded database has the same checksum of each table.",
          _backup, f"{RESULT}: counts"),
    Claim("clients", "No client-side changes.",
          "Holds if one client performs every operation at the doors of both stores, and each answer is right.",
          _same_client, f"{SAMPLES}: depths http and socket"),
    Claim("concurrency", "Thousands of concurrent users.",
          f"Holds if {MANY_SOCKETS:,} clients in one room get each message once, in sequence; with conditions from"
          f" {SOME_SOCKETS:,} on.",
          _crowd, f"{RESULT}: points"),
)  # fmt: skip
