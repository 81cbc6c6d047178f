"""The roster of a room: updated by events, compared with the store, and cut when it is long."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import msgspec

from chatsys.model.values import Participant, Session
from chatsys.realtime.roster import ALWAYS_READ, READ_AGAIN, Roster

START = datetime(2031, 1, 1, tzinfo=UTC)


def session(number: int, *, guest: bool = True) -> Session:
    who = Participant(user_id=f"user-{number}", username=f"u{number}", display_name="", avatar="", guest=guest)
    joined_at = START + timedelta(seconds=number)
    return Session(session_id=f"s{number}", socket_id=f"k{number}", room="r", who=who, joined_at=joined_at)


def whole(count: int, listed: int = 1000) -> Roster:
    roster = Roster(listed)
    roster.compare([session(number) for number in range(count)], 0.0)
    return roster


def listed(roster: Roster, session_id: str = "") -> list[str]:
    return [user["sessionId"] for user in json.loads(roster.json(session_id))]


def test_events_before_the_first_read_are_in_the_roster() -> None:
    roster = Roster(1000)
    roster.began(session(3))
    roster.ended(session(1))
    assert not roster.whole
    roster.compare([session(1), session(2)], 0.0)
    assert listed(roster) == ["s2", "s3"]


def test_session_is_listed_from_join_to_leave_whatever_the_store_says() -> None:
    roster = whole(3)
    roster.compare([session(2), session(7)], 1.0)
    assert listed(roster) == ["s0", "s1", "s2"]
    assert roster.began(session(7))
    assert roster.ended(session(0))
    roster.compare([session(0), session(2), session(7)], 2.0)
    assert listed(roster) == ["s1", "s2", "s7"]


def test_repeated_event_changes_nothing() -> None:
    roster = whole(2)
    version = roster.version
    assert not roster.began(session(1))
    assert not roster.ended(session(5))
    assert roster.version == version


def test_profiles_come_from_the_store_and_statuses_from_events() -> None:
    roster = Roster(1000)
    ann = session(1, guest=False)
    roster.compare([ann, session(2)], 0.0)
    renamed = msgspec.structs.replace(ann, who=msgspec.structs.replace(ann.who, display_name="Ann"))
    roster.compare([renamed, session(2)], 1.0)
    roster.status(ann.who.user_id, False, START)
    first, second = json.loads(roster.json("s1"))
    assert (first["displayName"], first["status"]["online"]) == ("Ann", False)
    assert second["status"]["online"]


def test_long_list_holds_the_newest_sessions_and_the_receiver() -> None:
    roster = whole(10, listed=3)
    assert roster.cut
    assert listed(roster, "s9") == ["s7", "s8", "s9"]
    assert listed(roster, "s2") == ["s2", "s7", "s8", "s9"]
    assert (roster.is_listed("s7"), roster.is_listed("s6")) == (True, False)
    roster.ended(session(9))
    assert listed(roster, "s2") == ["s2", "s6", "s7", "s8"]


def test_list_is_encoded_once_until_somebody_joins_or_leaves() -> None:
    roster = whole(10)
    assert roster.json("s1") is roster.json("s2")
    before = roster.json("s1")
    roster.began(session(11))
    assert roster.json("s1") != before


def test_roster_size_is_that_of_the_complete_list() -> None:
    assert abs(whole(1000, listed=100).size() - len(whole(1000).json(""))) < 2000


def test_empty_room_has_an_empty_list() -> None:
    roster = whole(0)
    assert roster.json("s1") == b"[]"
    assert roster.size() == 0


def test_store_is_read_less_often_for_a_longer_list() -> None:
    assert Roster(1000).stale(0.0), "nothing is known yet"
    assert whole(ALWAYS_READ).stale(0.0), "short enough to be read each time"
    long = whole(ALWAYS_READ + 1000)
    assert not long.stale(999 * READ_AGAIN)
    assert long.stale(1000 * READ_AGAIN)
