"""Figures, shapes, validity and verdict, from injected measurements. Nothing is timed here."""

from __future__ import annotations

import csv
import io
import json
import random
import time
from collections import Counter
from types import SimpleNamespace
from typing import Any

import locust.stats
import msgspec
from locust.env import Environment
from locust.html import get_html_report
from locust.stats import StatsCSV, calculate_response_time_percentile, setup_distributed_stats_event_listeners

from chatsys.client.errors import ConnectionLost
from chatsys.loadtesting import figures, recent, shapes, weights
from chatsys.loadtesting.figures import Figures
from chatsys.loadtesting.handover import Handover, together
from chatsys.loadtesting.histogram import SPARSE, Histogram, rounded
from chatsys.loadtesting.page import add_tab, live_rows, with_section
from chatsys.loadtesting.personas import PERSONAS, TASK_SCALE, ChatUser
from chatsys.loadtesting.record import Failure
from chatsys.loadtesting.refusals import unusable
from chatsys.loadtesting.scenarios import SCENARIOS
from chatsys.loadtesting.socketio_user import gap
from chatsys.loadtesting.validity import LIMITS, Measurements, reasons
from chatsys.loadtesting.verdict import advice, brought_by, message_cost, verdict_of
from chatsys.results.audit import Audit, AuditRow, history
from chatsys.results.capacity import FAILED, GENERATOR, HELD, LATENCY, NOT_MEASURABLE, answer
from chatsys.results.ledger import Books

PERCENTILES = [0.5, 0.95, 0.99, 1.0]


def _cut_page(path: str) -> bytes:
    """Return the answer of a server whose pages hold three messages of ten, whatever number is requested."""
    offset = int(path.rpartition("offset=")[2])
    newest = 10 - offset
    data = [{"id": f"{seq}", "seq": seq, "message": "x"} for seq in range(max(1, newest - 2), newest + 1)]
    more = {"truncated": True, "nextOffset": offset + 3} if newest > 3 else {}
    return json.dumps({"success": True, "data": data, **more}).encode()


def audit_continues_where_a_page_was_cut() -> None:
    assert [message.seq for message in history(_cut_page, "tea", 2)] == [10, 9, 8, 7, 6, 5, 4, 3]


def _environment() -> tuple[Environment, Figures]:
    environment, figures = Environment(), Figures()
    environment.create_local_runner()
    figures.attach(environment)
    return environment, figures


def _table(environment: Environment) -> dict[str, dict[str, str]]:
    written = io.StringIO()
    StatsCSV(environment, PERCENTILES).requests_csv(csv.writer(written))
    return {row["Name"]: row for row in csv.DictReader(io.StringIO(written.getvalue()))}


def times_keep_a_hundredth_of_a_millisecond(*_: str) -> None:
    assert rounded(0.014) == 0.01
    assert rounded(1.236) == 1.24
    assert rounded(99.994) == 99.99
    assert rounded(123.456) == 123
    assert rounded(4567.8) == 4570
    assert rounded(54321.0) == 54300


def locust_table_csv_and_html_show_the_same_figures(*_: str) -> None:
    environment, figures = _environment()
    times = [0.25, 1.5, 1.75, 99.75, 251.0]
    for ms in times:
        figures.timing("push", "hello").add(ms)
    figures.flush()
    entry = environment.stats.get("hello", "push")
    row = _table(environment)["hello"]
    assert float(row["Median Response Time"]) == entry.median_response_time == 1.75
    assert float(row["Min Response Time"]) == 0.25
    assert float(row["Max Response Time"]) == float(row["100%"]) == 251
    assert float(row["Average Response Time"]) == sum(times) / len(times)
    assert int(row["Request Count"]) == len(times)
    shown = entry.to_dict()
    assert (shown["median_response_time"], shown["max_response_time"], shown["min_response_time"]) == (
        1.75,
        251.0,
        0.25,
    )
    for text in ("0.25", "1.75", "251.00"):
        assert text in entry.to_string()
    assert "1.75" in entry.percentile()
    report = get_html_report(environment)
    for text in ('"median_response_time": 1.75', '"max_response_time": 251.0', '"min_response_time": 0.25'):
        assert text in report


def untimed_request_is_not_recorded_as_zero(*_: str) -> None:
    environment, figures = _environment()
    figures.failure("ack", "lost", "no acknowledgement in 10 s")
    figures.flush()
    row = _table(environment)["lost"]
    for column in ("Median Response Time", "Average Response Time", "Min Response Time", "Max Response Time", "50%"):
        assert row[column] == "N/A", column
    assert row["Failure Count"] == "1"
    entry = environment.stats.get("lost", "ack")
    assert "N/A" in entry.to_string()
    assert "0.00 " not in entry.to_string().split("|")[1]
    assert entry.to_dict()["min_response_time"] == "N/A"
    (error,) = environment.stats.errors.values()
    assert error.error == "no acknowledgement in 10 s"


def master_shows_the_counts_of_its_workers(*_: str) -> None:
    master = Environment()
    setup_distributed_stats_event_listeners(master.events, master.stats)
    for times in ([1.25, 2.5], [3.75]):
        worker, figures = Environment(), Figures()
        figures.attach(worker)
        setup_distributed_stats_event_listeners(worker.events, worker.stats)
        for ms in times:
            figures.timing("push", "hello").add(ms)
        report: dict[str, Any] = {}
        worker.events.report_to_master.fire(client_id="w", data=report)
        master.events.worker_report.fire(client_id="w", data=report)
    entry = master.stats.get("hello", "push")
    assert dict(entry.response_times) == {1.25: 1, 2.5: 1, 3.75: 1}
    assert entry.avg_response_time == 2.5
    assert master.stats.total.num_requests == 3


def _quiet() -> Measurements:
    return Measurements(cpu={30: 60}, lag={2: 600}, starts=1000, missed=0)


def a_quiet_generator_is_valid(*_: str) -> None:
    assert reasons("local", _quiet()) == []


def a_generator_that_was_not_measured_is_invalid(*_: str) -> None:
    assert "too short" in reasons("local", Measurements())[0]


def a_saturated_generator_is_invalid(*_: str) -> None:
    busy = msgspec.structs.replace(_quiet(), cpu={30: 54, 97: 6})
    assert reasons("local", busy) == ["local: CPU above 90% of a core in 6 of 60 s; add --processes or hosts"]
    moments = msgspec.structs.replace(_quiet(), cpu={30: 58, 97: 2})
    assert reasons("local", moments) == []


def late_timers_are_invalid(*_: str) -> None:
    late = msgspec.structs.replace(_quiet(), lag={2: 500, round(LIMITS.lag_ms * 10) + 5: 20})
    assert reasons("w1", late) == ["w1: its timers fired 20.5 ms late at p99, over 20 ms"]


def missed_starts_are_invalid(*_: str) -> None:
    missed = msgspec.structs.replace(_quiet(), missed=11)
    assert reasons("local", missed) == ["local: 11 of 1000 sends began over 20 ms late"]


def stolen_time_is_invalid(*_: str) -> None:
    assert "hypervisor took 10%" in reasons("local", msgspec.structs.replace(_quiet(), steal=0.1))[0]


def _audit(**columns: int) -> Audit:
    counts = dict.fromkeys(AuditRow.__struct_fields__[1:], 0) | {"sent": 9} | columns
    return Audit([], AuditRow("all rooms", **counts), [], [])


def lost_message_fails_a_run_even_if_it_is_also_invalid(*_: str) -> None:
    verdict, why = verdict_of(_audit(dropped=1), ["saturated"], [])
    assert (verdict, why) == ("FAILED", ["audit: 1 dropped"])


def an_incomplete_audit_fails(*_: str) -> None:
    audit = _audit()
    audit.incomplete.append("worker w did not hand over its books")
    assert verdict_of(audit, [], [])[0] == "FAILED"


def a_run_that_sent_nothing_fails(*_: str) -> None:
    assert verdict_of(_audit(sent=0), [], []) == ("FAILED", ["nothing was sent"])


def a_saturated_generator_makes_the_run_invalid(*_: str) -> None:
    failure = Failure("ack", "join", "timeout", 1)
    assert verdict_of(_audit(), ["saturated"], [failure]) == ("INVALID", ["saturated"])


def failures_fail_a_run_unless_it_causes_them(*_: str) -> None:
    failure = Failure("ack", "join", "timeout", 3)
    assert verdict_of(_audit(), [], [failure]) == ("FAILED", ["3 x ack join: timeout"])
    assert [name for name in SCENARIOS if brought_by(name, failure)] == ["capacity"]
    lost = Failure("socket", "connection", "closed by the server", 3)
    late = Failure("ack", "send-message", repr(ConnectionLost("closed by the server")), 1)
    for each in (lost, late):
        assert [name for name in SCENARIOS if brought_by(name, each)] == ["rolling-restart", "capacity"]


def capacity_search_ends_at_the_largest_successful_number(*_: str) -> None:
    for capacity in (1, 7, 60, 137, 640, 999, 1000, 5000):
        search, tries = shapes.Search(first=125, most=1000), 0
        users: int | None = search.users
        while users is not None:
            tries += 1
            users = search.judge(shapes.CapacityStep(users, 1, 1.0, 0, 0, HELD if users <= capacity else FAILED))
        found, expected = search.good, min(capacity, 1000)
        assert found <= expected, (capacity, found)
        assert expected - found <= max(1, shapes.PRECISION * (search.bad or 0)), (capacity, found)
        assert tries < 12


def capacity_says_what_is_known_about_more_users(*_: str) -> None:
    held, late, saturated = (
        msgspec.to_builtins(shapes.CapacityStep(users, 1, 1.0, 0, 0, outcome, limit))
        for users, outcome, limit in ((100, HELD, ""), (200, FAILED, LATENCY), (150, NOT_MEASURABLE, GENERATOR))
    )
    assert answer([held]).words == "at least 100 users"
    assert answer([held]).why == "more were not tried"
    assert answer([held, late]).words == "100 users"
    assert answer([held, late]).why == "the objective failed at 200; latency ran out first"
    assert answer([held, saturated]).words == "at least 100 users"
    assert answer([held, saturated]).why.startswith("at 150 the load generator's processor ran out first")
    assert answer([late]).words == "fewer than 200 users"
    assert answer([saturated]).words.startswith("no number")
    assert shapes.Search(first=100, most=800).judge(shapes.CapacityStep(100, 1, 1.0, 0, 0, NOT_MEASURABLE)) is None


def _stress(seconds: int = 0, busy: int = 0, timers: int = 0, late: int = 0) -> dict[str, int]:
    return {"seconds": seconds, "busy": busy, "timers": timers, "late": late}


def dwell_succeeds_only_with_timely_pushes_and_no_deviation(*_: str) -> None:
    before = shapes.DwellCounters({1.0: 10}, failures=2, deviations=0, stress=_stress())
    fast = shapes.DwellCounters({1.0: 110, 50.0: 1}, failures=2, deviations=0, stress=_stress())
    slow = shapes.DwellCounters({1.0: 100, 500.0: 10}, failures=2, deviations=0, stress=_stress())
    assert shapes.judged(5, before, fast, 100).outcome == HELD
    assert shapes.judged(5, before, slow, 100).push_p99 == 500.0
    assert shapes.judged(5, before, slow, 100).outcome == FAILED
    assert shapes.judged(5, before, before, 100).outcome == FAILED
    for changed in ({"failures": 3}, {"deviations": 1}):
        assert shapes.judged(5, before, msgspec.structs.replace(fast, **changed), 100).outcome == FAILED
    for stress in (_stress(seconds=10, busy=1), _stress(timers=100, late=2)):
        step = shapes.judged(5, before, msgspec.structs.replace(fast, stress=stress), 100)
        assert (step.outcome, step.limit) == (NOT_MEASURABLE, GENERATOR)
    calm = _stress(seconds=100, busy=5, timers=1000, late=10)
    assert shapes.judged(5, before, msgspec.structs.replace(fast, stress=calm), 100).outcome == HELD


def shapes_define_the_number_of_users(*_: str) -> None:
    plans = {name: scenario.users for name, scenario in SCENARIOS.items()}
    seen = {name: [round(plan(t, 100, 50.0)) for t in (0, 10, 25, 49)] for name, plan in plans.items()}
    assert seen["steady"] == seen["soak"] == seen["storm"] == [100, 100, 100, 100]
    assert seen["ramp"] == [0, 20, 50, 98]
    assert seen["spike"] == [20, 20, 100, 20]
    assert seen["step"] == [0, 20, 60, 100]
    assert seen["flash-crowd"] == [10, 10, 100, 10]


def scenario_defines_who_shares_a_room(*_: str) -> None:
    rooms = {}
    for name, scenario in SCENARIOS.items():
        size, sizes = scenario.rooms or (20, "zipf")
        found = [weights.room_of(index, users=40, mean_size=size, sizes=sizes, seed=1) for index in range(40)]
        rooms[name] = sorted(Counter(found).values())
    assert rooms["direct"] == [2] * 20
    assert rooms["many-to-one"] == rooms["announcements"] == rooms["flash-crowd"] == [40]
    assert len(rooms["steady"]) == 2
    for name, scenario in SCENARIOS.items():
        assert scenario.without <= weights.ACTIVITIES.keys(), name


def invalid_run_names_a_remedy_and_other_runs_give_no_advice(*_: str) -> None:
    assert any("--processes" in line for line in advice("INVALID"))
    assert advice("VALID") == advice("FAILED") == []


def live_section_of_the_page_shows_what_is_known(*_: str) -> None:
    environment, figures = _environment()
    generators = {"local": {"deviations": 2, "cpu": 0.5, "lag_ms": 3.2, "users": 7}}
    assert dict(live_rows(environment, generators))["Pushes timed so far"] == "nothing yet"
    figures.timing("push", "hello").add(1.25)
    figures.failure("ack", "send", "no acknowledgement in 10 s")
    figures.flush()
    assert dict(live_rows(environment, generators)) == {
        "Verdict": "at the end of the run, after the audit",
        "Deviations so far": "2",
        "Failures so far": "1",
        "Pushes timed so far": "1, p99 1.25 ms",
        "Generator local": "50% of a core, timers 3 ms late, 7 users",
    }


def page_has_the_tab_and_polls_until_there_is_a_verdict(*_: str) -> None:
    environment, _figures = _environment()
    web_ui = environment.create_web_ui("127.0.0.1", 0, delayed_start=True)
    rows, over = [("Verdict", "at the end")], [False]
    add_tab(web_ui, lambda: rows, lambda: over[0])
    client = web_ui.app.test_client()
    assert "Verdict and audit" in client.get("/").text
    shown = client.get("/stats/requests").json
    assert shown["state"] == "running"
    assert shown["extended_stats"] == [{"key": "verdict", "data": [{"what": "Verdict", "says": "at the end"}]}]
    rows[0], over[0] = ("Verdict", "VALID"), True
    shown = client.get("/stats/requests").json
    assert shown["state"] == environment.runner.state != "running"
    assert shown["extended_stats"][0]["data"] == [{"what": "Verdict", "says": "VALID"}]
    assert "<td>VALID</td>" in client.get("/stats/report").text


def section_of_the_report_is_in_its_body_and_escaped(*_: str) -> None:
    report = with_section("<script>'</body>'</script><p>all</p></body></html>", [("Verdict", "<FAILED>")])
    assert report.startswith("<script>'</body>'</script><p>all</p><section")
    assert report.endswith("</section></body></html>")
    assert "<td>&lt;FAILED&gt;</td>" in report


def arrivals_keep_their_rate(*_: str) -> None:
    rng = random.Random(1)
    assert gap("constant", 4.0, rng) == 0.25
    gaps = [gap("poisson", 4.0, rng) for _ in range(20_000)]
    assert abs(sum(gaps) / len(gaps) - 0.25) < 0.01
    assert abs(sum(1 for each in gaps if each > 0.25) / len(gaps) - 0.3679) < 0.02  # exp(-1): a memoryless process


def average_user_sends_one_message_per_interval_and_the_rest_by_weight(*_: str) -> None:
    shares = sum(user.weight for user in PERSONAS)
    for activity in weights.ACTIVITIES.values():
        if activity.name == "reconnect":
            continue
        mean = sum(user.weight * _count(user, activity.name) for user in PERSONAS) / shares / TASK_SCALE
        assert abs(mean - activity.weight) < 0.01 + 0.01 * activity.weight, (activity.name, mean)


def _count(user: type[ChatUser], name: str) -> int:
    return sum(task is getattr(ChatUser, name) for task in user.tasks)


def each_weight_and_persona_names_its_source(*_: str) -> None:
    assert all(activity.source for activity in weights.ACTIVITIES.values())
    assert all(persona.source for persona in weights.PERSONAS.values())


def each_activity_is_a_task_with_its_tag(*_: str) -> None:
    for activity in weights.ACTIVITIES.values():
        assert activity.tag in getattr(ChatUser, activity.name).locust_tag_set


def rooms_are_filled_equally_in_every_process(*_: str) -> None:
    options = {"users": 400, "mean_size": 20, "seed": 3}
    equal = [weights.room_of(i, sizes="equal", **options) for i in range(400)]
    assert all(equal.count(room) == 20 for room in set(equal))
    skewed = [weights.room_of(i, sizes="zipf", **options) for i in range(400)]
    assert skewed == [weights.room_of(i, sizes="zipf", **options) for i in range(400)]
    sizes = sorted((skewed.count(room) for room in set(skewed)), reverse=True)
    assert len(sizes) <= 20
    assert sizes[0] > 3 * sizes[len(sizes) // 2]


class _Clock:
    """Stands for the module ``time``."""

    def __init__(self) -> None:
        self.at = 1_000_000.0

    def time(self) -> float:
        return self.at

    monotonic = time


def statistics_keep_only_the_last_seconds_with_correct_percentiles(*_: str) -> None:
    environment, collected = _environment()
    clock = _Clock()
    vars(figures)["time"] = vars(recent)["time"] = clock
    try:
        for second in range(5000):
            clock.at += 1
            for ms in (1.0, 2.0, 3.0, 100.0 if second >= 4995 else 50.0):
                collected.timing("push", "hello").add(ms)
            collected.flush()
        entry = environment.stats.get("hello", "push")
        assert entry.num_requests == 20_000
        assert len(entry.recent) <= recent.KEPT + 1
        assert len(entry.num_reqs_per_sec) <= recent.KEPT + 1
        assert not entry.response_times_cache
        assert recent.times_since(entry, clock.at - 10) == {1.0: 10, 2.0: 10, 3.0: 10, 50.0: 5, 100.0: 5}
        assert entry.get_current_response_time_percentile(1.0) == 100.0
        assert entry.get_current_response_time_percentile(0.7) == 3.0
        clock.at += 60
        assert entry.get_current_response_time_percentile(0.5) is None
    finally:
        vars(figures)["time"] = vars(recent)["time"] = time


def charts_of_a_long_run_keep_both_ends_and_fewer_points(*_: str) -> None:
    environment, _figures = _environment()
    for second in range(3 * recent.POINTS):
        locust.stats.update_stats_history(environment.runner, f"{second:06}")
    history = environment.stats.history
    assert recent.POINTS / 2 <= len(history) <= recent.POINTS
    assert (history[0]["time"], history[-1]["time"]) == ("000000", f"{3 * recent.POINTS - 1:06}")


def each_room_mixes_the_personas_in_any_spawn_order(*_: str) -> None:
    users, size = 2000, 20
    rooms: dict[int, list[str]] = {}
    for persona in weights.PERSONAS.values():
        for nth in range(persona.share * users // 100):
            rooms.setdefault(weights.seat(persona.name, nth) // size, []).append(persona.name)
    assert [len(room) for _, room in sorted(rooms.items())] == [size] * (users // size)
    for room in rooms.values():
        assert {name: room.count(name) for name in ("talker", "reader", "lurker")} == {
            "talker": 5,
            "reader": 5,
            "lurker": 6,
        }


def cost_of_a_message_counts_only_pushes_and_receipt_updates(*_: str) -> None:
    row = AuditRow("all rooms", *[0] * (len(AuditRow.__struct_fields__) - 1))
    row.sent, row.delivered = 10, 200
    came = {"message-read-update": 3800, "message-status-update": 3800, "user-joined": 7}
    assert message_cost(row, came) == "Each message cost 20.0 pushes and 760.0 receipt updates"


def results_of_several_processes_are_added_up(*_: str) -> None:
    parts = [
        Handover(Books("r"), {"a": Measurements()}, {"typing": 1}, {"user-typing": 19}, 2, {"chatsys"}),
        Handover(
            Books("r"), {"b": Measurements()}, {"typing": 2, "message-read": 1}, {"user-typing": 38}, 0, {"chatsys"}
        ),
    ]
    whole = together("r", parts)
    assert (whole.untimed, whole.unhandled, whole.elsewhere) == (
        {"typing": 3, "message-read": 1},
        {"user-typing": 57},
        2,
    )
    assert set(whole.generators) == {"a", "b"}


def impossible_options_are_named_with_a_remedy() -> None:
    usable = {
        "interval": 20.0,
        "room_size": 20,
        "receipts": 0.1,
        "objective": 200.0,
        "tags": None,
        "exclude_tags": None,
    }
    assert unusable(SimpleNamespace(**usable)) is None
    assert unusable(SimpleNamespace(**usable | {"tags": ["send"], "exclude_tags": ["read"]})) is None
    bad: dict[str, Any] = {"interval": -1.0, "room_size": 0, "receipts": 1.5, "objective": 0.0}
    for name, value in bad.items():
        complaint = unusable(SimpleNamespace(**usable | {name: value}))
        assert complaint is not None
        assert complaint.startswith(f"--{name.replace('_', '-')} {value:g}: ")
    complaint = unusable(SimpleNamespace(**usable | {"tags": ["nosuch", "send"]}))
    assert complaint == "No activity has the tag nosuch: give --tags any of send typing read rooms reconnect."


def histogram_gives_the_same_results_as_a_dictionary() -> None:
    rng = random.Random(3)
    times = [rounded(rng.lognormvariate(3, 2)) for _ in range(20_000)] + [
        0.0,
        99.99,
        100.0,
        999.0,
        1000.0,
        99_900.0,
        123_000.0,
    ]
    counts: dict[float, int] = {}
    for ms in times:
        counts[ms] = counts.get(ms, 0) + 1
    histogram = Histogram(counts)
    assert dict(histogram) == counts
    assert list(histogram) == sorted(counts)
    assert len(histogram) == len(counts)
    assert all(ms in histogram for ms in counts)
    assert 5e6 not in histogram
    for share in (0.0, 0.5, 0.9, 0.99, 0.999, 1.0):
        expected = calculate_response_time_percentile(counts, len(times), share)
        assert histogram.percentile(len(times), share) == expected


def locust_keeps_many_different_times_in_constant_memory() -> None:
    environment, figures = _environment()
    for hundredth in range(4 * SPARSE):
        figures.timing("push", "receive-message").add(hundredth / 100)
    figures.flush()
    entry = environment.stats.entries["receive-message", "push"]
    assert isinstance(entry.response_times, Histogram)
    assert entry.median_response_time == 2 * SPARSE / 100
    sent = entry.serialize()["response_times"]
    assert (type(sent), len(sent)) == (dict, 4 * SPARSE)
