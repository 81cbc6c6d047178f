"""The rules that judge the guide's promises."""

from __future__ import annotations

import msgspec
import pytest

from chatsys.lab.record import Count, Fit, Point, Survival
from chatsys.results.claims import CLAIMS, judge
from chatsys.results.names import FAILS, HOLDS, PARTLY, UNKNOWN
from chatsys.results.run import Interval


def verdicts(result):
    return {each.claim: each.verdict for each in judge(result)}


def test_every_promise_of_the_guide_has_a_row():
    assert {claim.name for claim in CLAIMS} == {
        "find_user",
        "recent_messages",
        "mark_read",
        "search_users",
        "persistence",
        "users",
        "messages",
        "queries",
        "multi_server",
        "backup",
        "clients",
        "concurrency",
    }


def test_promise_that_was_not_measured_is_not_judged(result):
    empty = msgspec.structs.replace(
        result, operations=[], ratios=[], fits=[], points=[], persistence=[], counts=[], baselines=[]
    )
    assert set(verdicts(empty).values()) == {UNKNOWN}


def parts(result, claim):
    """Return which parts of a claim hold."""
    return [part.kept for each in judge(result) if each.claim == claim for part in each.parts]


def test_promise_of_two_parts_has_two_verdicts(result):
    assert parts(result, "find_user") == [True, False]
    assert verdicts(result)["find_user"] == PARTLY


def test_times_are_judged_only_at_the_client(result):
    inside = [each for each in result.operations if each.depth.startswith("store")]
    assert verdicts(msgspec.structs.replace(result, operations=inside))["find_user"] == UNKNOWN


def test_time_within_the_promise_holds_where_no_speed_up_was_promised(result):
    assert verdicts(result)["mark_read"] == HOLDS


def test_time_beyond_the_promise_does_not_hold(result):
    slow = [
        msgspec.structs.replace(each, p50_us=each.p50_us * 100) if each.store == "postgresql" else each
        for each in result.operations
    ]
    assert verdicts(msgspec.structs.replace(result, operations=slow))["find_user"] == FAILS


def test_linear_memory_and_flat_postgresql_keep_the_promise_of_search(result):
    assert verdicts(result)["search_users"] == HOLDS


def test_reads_that_are_never_linear_in_memory_fulfil_one_part(result):
    assert parts(result, "queries") == [True, False]


def test_growth_in_postgresql_breaks_the_promise(result):
    result.fits = [
        msgspec.structs.replace(fit, exponent=0.9, interval=Interval(0.8, 1.0)) if fit.store == "postgresql" else fit
        for fit in result.fits
    ]
    assert parts(result, "search_users") == [False, True]


def test_three_sizes_are_too_few_for_a_statement_about_growth(result):
    result.fits = [msgspec.structs.replace(fit, sizes=fit.sizes[:3]) for fit in result.fits]
    found = verdicts(result)
    assert found["search_users"] == found["queries"] == found["users"] == UNKNOWN


def test_one_acknowledged_message_missing_breaks_persistence(result):
    assert verdicts(result)["persistence"] == HOLDS
    result.persistence[1] = Survival(store="postgresql", killed="server", acknowledged=500, missing=1)
    assert verdicts(result)["persistence"] == FAILS


def test_table_that_differs_breaks_backup(result):
    result.counts = [Count(subject="backup", metric="tables that differ", value=0)]
    assert verdicts(result)["backup"] == HOLDS
    result.counts = [Count(subject="backup", metric="tables that differ", value=1)]
    assert verdicts(result)["backup"] == FAILS


@pytest.mark.parametrize(("members", "verdict"), [(500, PARTLY), (2_000, HOLDS)])
def test_concurrency_is_judged_by_the_largest_measured_room(result, members, verdict):
    result.points.append(
        Point(experiment="fanout", subject="postgresql", x=members, metric="deliveries/s", value=1, unit="1/s")
    )
    assert verdicts(result)["concurrency"] == verdict


def test_messages_lost_between_two_servers_break_the_promise_of_delivery(result):
    result.counts = [
        Count(subject="two servers", metric="deliveries", value=100),
        Count(subject="two servers", metric="lost", value=1),
    ]
    assert verdicts(result)["multi_server"] == FAILS


def test_slope_is_judged_by_its_interval_and_not_by_its_value(result):
    result.fits = [
        Fit(operation=fit.operation, store=fit.store, exponent=0.25, interval=Interval(-0.1, 0.6), sizes=fit.sizes)
        if fit.store == "postgresql"
        else fit
        for fit in result.fits
    ]
    assert parts(result, "search_users") == [False, True]
