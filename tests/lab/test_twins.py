"""Two servers' answers may differ in ids, times and tokens, and in nothing else."""

from __future__ import annotations

import asyncio
import uuid

import pytest

from chatsys.lab.shadow.findings import Findings
from chatsys.lab.shadow.traffic import ORIGINAL, SHADOW, MirroredTraffic, Stream
from chatsys.lab.shadow.twins import Difference, Twins, differences

ANN, TWIN = str(uuid.uuid4()), str(uuid.uuid4())


def answer(user_id: str, **fields: object) -> dict[str, object]:
    return {"success": True, "data": [{"id": user_id, "name": "Ann", "at": "2026-01-01T00:00:00.000Z"} | fields]}


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ({}, []),
        ({"at": "2026-02-03T04:05:06Z"}, []),
        ({"seq": 7}, []),
        ({"name": "Anne"}, [("data[].name", "Ann", "Anne")]),
        ({"at": None}, [("data[].at", "2026-01-01T00:00:00.000Z", None)]),
        ({"at": "yesterday"}, [("data[].at", "2026-01-01T00:00:00.000Z", "yesterday")]),
        ({"id": "7"}, [("data[].id", ANN, "7")]),
    ],
)
def test_difference_is_named_by_its_path(fields: dict[str, object], found: list[tuple[object, ...]]) -> None:
    assert [*differences(answer(ANN), answer(TWIN, **fields))] == [Difference(*each) for each in found]  # type: ignore[arg-type]


def test_missing_values_and_lists_of_other_lengths_are_differences() -> None:
    assert [each.path for each in differences({"a": 1, "b": [1, 2]}, {"b": [1]})] == ["a", "b[] elements"]


def test_reordered_messages_are_one_difference_and_compared_in_pairs() -> None:
    """Another server numbers simultaneous messages differently."""
    texts = ("one", "two", "three")
    ours = [{"id": str(uuid.uuid4()), "message": text, "read": False} for text in texts]
    theirs = [{**each, "id": str(uuid.uuid4())} for each in ours]
    twins = Twins()
    for pair in zip(ours, theirs, strict=True):
        twins.learn(*pair)
    assert [*twins.differences({"data": ours}, {"data": theirs})] == []
    theirs[2]["read"] = True
    turned = [theirs[1], theirs[0], theirs[2]]
    assert [*twins.differences({"data": ours}, {"data": turned})] == [
        Difference("data[] order", "one, two, three", "two, one, three"),
        Difference("data[].read", False, True),
    ]
    assert [each.path for each in twins.differences(ours, theirs[:2])] == ["[] elements"]
    strange = [theirs[0], theirs[1], {"id": str(uuid.uuid4()), "message": "four", "read": False}]
    assert [*twins.differences(ours, strange)] == [Difference("[] others", 1, "others")]


def test_ids_are_learnt_from_answers_and_translated_everywhere() -> None:
    twins = Twins()
    twins.learn(answer(ANN), answer(TWIN))
    assert twins.translated({"path": f"/api/users/{ANN}?x={ANN}", "list": [ANN, 7, None]}) == {
        "path": f"/api/users/{TWIN}?x={TWIN}",
        "list": [TWIN, 7, None],
    }
    mine, theirs = "eyJhbGciOi.eyJzdWIi.sig-1", "eyJhbGciOi.eyJzdWIi.sig-2"
    twins.learn({"token": mine}, {"token": theirs})
    assert twins.translated({"authorization": f"Bearer {mine}"}) == {"authorization": f"Bearer {theirs}"}
    assert twins.translated("2026-01-01T00:00:00Z") == "2026-01-01T00:00:00Z"


async def test_events_match_in_any_order_and_unmatched_ones_are_differences() -> None:
    traffic = MirroredTraffic()
    stream = Stream(traffic)
    for side, texts in ((ORIGINAL, ("one", "two", "lost")), (SHADOW, ("two", "one", "invented", "more"))):
        for text in texts:
            stream.received(side, "event said", ({"text": text},))
    assert not stream.settled
    stream.close()
    findings = traffic.findings
    assert (findings.compared["event said"], findings.different["event said"]) == (4, 2)
    assert not findings.same
    assert any("lost" in line and "invented" in line for line in findings.lines())
    assert findings.answer() == "2 of 4 comparisons differ."


@pytest.mark.parametrize(("last", "same"), [("Ann", True), ("Ben", False)])
async def test_last_of_mergeable_events_is_compared(last: str, same: bool) -> None:
    traffic = MirroredTraffic()
    stream = Stream(traffic)
    for names in (["Ann"], ["Ann", "Ben"], ["Ann"]):
        stream.received(ORIGINAL, "event room-users", ([{"username": name} for name in names],))
    stream.received(SHADOW, "event room-users", ([{"username": last}],))
    assert stream.settled
    stream.close()
    assert traffic.findings.same is same
    assert traffic.findings.compared["event room-users"] == 1


async def test_extra_acknowledgement_is_no_difference() -> None:
    traffic = MirroredTraffic()
    stream = Stream(traffic)
    stream.received(SHADOW, "answer to join", ({"success": True},))
    stream.close()
    assert traffic.findings.same


def test_report_says_when_nothing_was_compared() -> None:
    assert Findings().answer() == "Nothing was compared: no client connected."


async def test_id_that_the_second_server_never_names_is_awaited_once() -> None:
    """The second server may have an older copy of the data. Waiting each time would delay every call by a second."""
    traffic = MirroredTraffic()
    traffic.expect({"id": ANN, "by": TWIN})
    async with asyncio.timeout(1.5):
        for value in (f"/api/users/{ANN}", f"/api/users/{ANN}", f"/api/users/{TWIN}"):
            assert await traffic.translated(value) == value
    traffic.found({"id": ANN})
    async with asyncio.timeout(0.5):
        assert await traffic.translated(ANN) == ANN
