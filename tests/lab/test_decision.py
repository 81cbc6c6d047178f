"""The first screen: its words follow from the figures beside them and never contradict them."""

from __future__ import annotations

import re

import msgspec
import numpy as np
import pytest

from chatsys.lab.record import OperationResult, Point, Survival
from chatsys.reports.bench import page
from chatsys.reports.decision import html, markdown
from chatsys.results.decision import decide
from chatsys.results.names import SEARCH, SEND
from chatsys.results.numbers import (
    brief_duration,
    change,
    count,
    duration,
    durations_arrow,
    figure,
    share_of,
    size,
    times,
    with_unit,
)
from chatsys.results.run import Result


def replaced(result: Result, name: str, store: str, **changes: object) -> None:
    """Change an operation at the client."""
    result.operations = [
        msgspec.structs.replace(each, **changes)
        if (each.operation, each.store) == (name, store) and not each.depth.startswith("store")
        else each
        for each in result.operations
    ]


def point(experiment: str, subject: str, x: float, metric: str, value: float, **more: object) -> Point:
    """One point in microseconds."""
    return Point(experiment=experiment, subject=subject, x=x, metric=metric, value=value, unit="µs", **more)


@pytest.mark.parametrize(
    ("microseconds", "shown", "brief"),
    [
        (0.784, "0.78 µs", "0.78 µs"),
        (25.66, "25.7 µs", "26 µs"),
        (412.0, "412 µs", "0.41 ms"),
        (999.7, "1.00 ms", "1 ms"),
        (1184, "1.18 ms", "1.2 ms"),
        (67_800, "67.8 ms", "68 ms"),
        (2_100_000, "2.10 s", "2.1 s"),
        (np.int64(1184), "1.18 ms", "1.2 ms"),
        (np.float32(25.66), "25.7 µs", "26 µs"),
    ],
)
def test_times_have_a_unit_that_suits_them(microseconds, shown, brief):
    assert duration(microseconds) == shown
    assert brief_duration(microseconds) == brief


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        (92.9, 501.2, "0.41 ms more"),
        (67_804, 246, "280 times faster"),
        (100, 102, "the same"),
        (300, 200, "0.1 ms less"),
        (1_000, 3_500, "2.5 ms more"),
        (np.float64(10), np.int64(5), "2 times faster"),
    ],
)
def test_change_is_stated_in_words_that_follow_from_both_figures(before, after, words):
    assert change(before, after) == words


def test_numbers_have_one_format_each():
    assert [figure(x) for x in (0.0037, 0.53, 7.254, 41.44, 1184)] == ["0.0037", "0.53", "7.25", "41.4", "1,184"]
    assert [size(x) for x in (581, 1383, np.int64(2_531_394))] == ["581 B", "1.4 KiB", "2.4 MiB"]
    assert [share_of(100, x) for x in (67, 101, 240, 130)] == [
        "33 % fewer",
        "as many",
        "2.4 times as many",
        "30 % more",
    ]
    assert times(1.234, 1.2, 12.34) == "1.23× (1.20 to 12.3)"
    assert durations_arrow(140, 250) == "0.14 → 0.25 ms"
    assert durations_arrow(68_000, 700_000_000) == "68 ms → 12 min"
    assert [with_unit(*pair) for pair in ((2_531_394, "B"), (0.282, "s"), (2_400, "1"))] == [
        "2.4 MiB", "282 ms", "2,400",
    ]  # fmt: skip
    assert count(np.int64(100_000)) == "100,000"


def test_two_sentences_state_the_cost_and_the_gain(result):
    replaced(result, SEARCH, "memory", p50_us=68_000.0)
    found = decide(result)
    assert found.headline == (
        "A message takes 0.2 ms longer and none is lost when a process is killed. Finding people among 100,000 users"
        " gets 230 times faster; everything else that a client does takes at most 0.2 ms more."
    )
    assert found.felt[-1].change == "230 times faster"


def test_lost_message_is_in_the_first_sentence(result):
    result.persistence[1] = Survival(store="postgresql", killed="server", acknowledged=500, missing=7)
    assert "7 of 1,000 are lost when a process is killed" in decide(result).headline


def test_invalid_run_decides_nothing(result, samples):
    result.invalid("other programs used more than 15 % of the processors.")
    found = decide(result)
    assert found.headline == "This run is INVALID and decides nothing."
    for text in (html(found), markdown(found), page(result, []).markdown()):
        assert text.index("must not be quoted") < text.index("Find a user")
        assert "other programs used more than 15 % of the processors" in text
        assert "none is lost" not in text
        assert "The run is valid" not in text


def test_tables_of_two_data_sets_name_their_data_set(result):
    inside = [
        msgspec.structs.replace(each, users=8, messages=200) if each.depth == "store" else each
        for each in result.operations
    ]
    result = msgspec.structs.replace(result, operations=inside)
    text = page(result, []).markdown()
    for depth, held in (("HTTP", "100,000 users and 20,000 messages"), ("one at a time", "8 users and 200 messages")):
        (caption,) = [line for line in text.splitlines() if depth in line and "in each store." in line]
        assert caption.endswith(f"with {held} in each store.")
    assert "with 100,000 users and 20,000 messages in each store; calls inside the process with 8 users" in text


def test_older_record_without_sizes_names_none(result):
    for store in ("memory", "postgresql"):
        for name in (SEARCH, SEND):
            replaced(result, name, store, users=None, messages=None)
    found = decide(result)
    assert found.felt[-1].what == "Search users"
    assert found.felt[-1].data == "a small chat"


def test_words_beside_two_medians_follow_from_them(result):
    """Ratios are means over rounds and have their own table."""
    text = page(result, []).markdown()
    for row in re.findall(
        r"^\| [^|]+ \| ([\d.,]+) / [^|]*? µs \| ([\d.,]+) / [^|]*? µs \| ([^|]+) \|", text, re.MULTILINE
    ):
        memory, postgresql, words = row
        assert change(float(memory.replace(",", "")), float(postgresql.replace(",", ""))) == words
    assert "geometric mean" in text
    assert "e+0" not in text


def test_rates_of_a_saturated_generator_are_bounds(result):
    result.points += [
        point("fanout", "memory", 2_000, "deliveries/s", 655_016.0, lower_bound=True),
        point("fanout", "postgresql", 2_000, "deliveries/s", 459_130.0),
    ]
    found = decide(result)
    assert found.rates[0].change == "the load generator's limit"
    assert "over 655,000" in html(found)
    assert "fewer" not in html(found)


def test_push_and_distance_are_on_the_first_screen_if_measured(result):
    for store, p50 in (("memory", 1_150.0), ("postgresql", 2_190.0)):
        result.points += [point("push", store, 2_000, "p50", p50), point("push", store, 2_000, "p99", 4 * p50)]
    result.points += [point("distance", SEND, x, "p50", value) for x, value in ((60.0, 300.0), (1_000.0, 1_400.0))]
    found = decide(result)
    assert ("Receive a push, 2,000 users", "1 ms more") in [(each.what, each.change) for each in found.felt]
    assert "1 ms away, storing a message takes 1.4 ms instead of 0.3 ms" in found.limits


def test_page_and_both_markdown_forms_say_the_same(result):
    found = decide(result)
    for each in found.felt:
        assert each.change in html(found)
        assert each.change in markdown(found)
        assert each.change in markdown(found, None)
    for promise in found.promises:
        for part in promise.parts:
            assert part.words in markdown(found)


def test_empty_run_still_has_a_first_screen():
    empty = Result(
        id="x", created_at="2026-01-01T00:00:00.000Z", profile="quick", seed=1, environment={}, parameters={}
    )
    assert "<svg" not in html(decide(empty))
    assert decide(empty).felt == ()


def test_texts_of_a_record_are_escaped(result):
    result.limitations = ["<script>alert(1)</script>"]
    assert "<script" not in html(decide(result))


def test_recorded_operations_state_how_much_the_store_held():
    assert {"users", "messages"} <= set(OperationResult.__struct_fields__)
