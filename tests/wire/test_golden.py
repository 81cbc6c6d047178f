"""What the server sends equals the golden samples byte for byte; what it receives is read from them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from chatsys.errors import JoinRefused
from chatsys.wire import catalogue, events, inbound, objects

from . import samples

GOLDEN = Path(__file__).parent / "golden"


def golden(folder: str, name: str) -> Any:
    return json.loads((GOLDEN / folder / f"{name}.json").read_text("utf-8"))


def names(folder: str) -> set[str]:
    return {path.stem for path in (GOLDEN / folder).iterdir()}


def test_every_event_and_no_other_has_a_golden_sample() -> None:
    assert names("out") == {row.name for row in catalogue.OUTGOING} == set(samples.EVENTS)
    assert names("in") == {row.name for row in catalogue.INCOMING}
    assert names("answers") == set(samples.ANSWERS)
    assert names("rest") == set(samples.REST)


def test_no_event_is_listed_twice() -> None:
    for rows in (catalogue.OUTGOING, catalogue.INCOMING):
        assert len({row.name for row in rows}) == len(rows)


@pytest.mark.parametrize(
    ("folder", "name", "payload"),
    [
        (folder, name, payload)
        for folder, table in (("out", samples.EVENTS), ("answers", samples.ANSWERS), ("rest", samples.REST))
        for name, payload in table.items()
    ],
)
def test_sent_event_equals_the_golden_sample(folder: str, name: str, payload: Any) -> None:
    assert json.loads(objects.encode(payload)) == golden(folder, name)


@pytest.mark.parametrize("row", catalogue.OUTGOING, ids=lambda row: row.name)
def test_golden_event_has_exactly_the_fields_of_its_row(row: catalogue.OutgoingEvent) -> None:
    sample = golden("out", row.name)
    typed = msgspec.convert(sample, row.payload)
    assert json.loads(objects.encode(typed)) == sample
    first = sample[0] if isinstance(sample, list) else sample
    extended = {**first, "extra": 1}
    with pytest.raises(msgspec.ValidationError, match="unknown field `extra`"):
        msgspec.convert([extended] if isinstance(sample, list) else extended, row.payload)


@pytest.mark.parametrize("row", catalogue.INCOMING, ids=lambda row: row.name)
def test_golden_client_event_is_read(row: catalogue.IncomingEvent) -> None:
    sample = golden("in", row.name)
    expected = {
        catalogue.JOIN: inbound.JoinRequest(
            room="general", token="a.b.c", username="Bob", user_id="guest-k3j2h1g0f", since=7, epoch="5f3a"
        ),
        catalogue.SEND_MESSAGE: ("hello", "c-1"),
        catalogue.MESSAGE_DELIVERED: ("general", samples.MESSAGE_ID),
        catalogue.MESSAGE_READ: ("general", samples.MESSAGE_ID),
        catalogue.MARK_ALL_READ: "general",
        catalogue.TYPING: True,
        catalogue.UPDATE_ONLINE_STATUS: False,
        catalogue.LEAVE_ROOM: None,
    }
    assert (row.reads(sample) if row.reads else sample) == expected[row.name]


def test_catalogue_answers_equal_the_golden_ones() -> None:
    for row in catalogue.INCOMING:
        name = row.name if row.answer is not events.Done else "done"
        msgspec.convert(golden("answers", name), row.answer)


def test_every_event_has_its_line_in_the_documentation() -> None:
    text = (Path(__file__).parents[2] / "docs" / "PROTOCOL.md").read_text("utf-8")
    for row in (*catalogue.OUTGOING, *catalogue.INCOMING):
        assert f"\n| `{row.name}` |" in text


JUNK: list[Any] = [
    None,
    True,
    0,
    -1,
    10**400,
    1.5,
    "",
    "text",
    [],
    [[]],
    [{"room": "x"}],
    {},
    b"\0\xff",
    {"room": None},
]


@pytest.mark.parametrize("junk", [*JUNK, {"room": ["general"]}, {"room": " "}, {"room": "x" * 101}, {"room": "a\0b"}])
def test_join_without_a_usable_room_is_refused(junk: Any) -> None:
    with pytest.raises(JoinRefused):
        inbound.join(junk)


@pytest.mark.parametrize("since", [-1, 1.5, "3", True, [], {}])
def test_join_with_an_invalid_since_is_refused(since: Any) -> None:
    with pytest.raises(JoinRefused):
        inbound.join({"room": "general", "since": since})


def test_since_beyond_any_sequence_is_reduced_to_the_greatest() -> None:
    assert inbound.join({"room": "general", "since": 10**30}).since == 2**63 - 1


@pytest.mark.parametrize("junk", [*JUNK, {"messageId": 5, "room": "x"}, {"messageId": "x", "room": "general"}])
def test_malformed_payload_is_read_as_empty(junk: Any) -> None:
    assert inbound.send_message(junk) == (None, None)
    assert inbound.receipt(junk) is None
    assert inbound.online_status(junk) is None
    assert inbound.typing(junk) is bool(junk)


def test_room_names_are_used_as_sent() -> None:
    assert inbound.join({"room": "  Ünïcode room "}).room == "  Ünïcode room "


def test_lone_surrogate_is_sent_as_the_replacement_character() -> None:
    assert objects.encode({"a\ud800": ["x\udfffy"], "n": 1}) == '{"a\ufffd":["x\ufffdy"],"n":1}'.encode()


def test_timestamp_has_three_digits_even_when_they_are_zero() -> None:
    assert objects.timestamp(samples.AT.replace(microsecond=0)) == "2026-01-02T03:04:05.000Z"
