"""The ledger: what it notices, how those of several processes are added up, and that it does not grow."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatsys.results.ledger import (
    WINDOWS,
    Books,
    LedgerMember,
    LedgerRoom,
    MessageLedger,
    RoomAccount,
    Windows,
    fingerprint,
)
from chatsys.results.stamps import stamp_of, text_of


def member(room: LedgerRoom, last_seq: int = 0) -> LedgerMember:
    """Return a member who joined when ``last_seq`` messages existed."""
    joined = LedgerMember(room)
    joined.begin(last_seq)
    return joined


def faults_after(seqs: Iterable[int], newest: int = 5) -> dict[str, int]:
    """Return the ledger's result for one member who got these messages."""
    ledger = MessageLedger()
    room = ledger.room("a")
    recipient = member(room)
    for seq in seqs:
        recipient.receive(seq, f"id-{seq}", "hello")
    account = ledger.close().rooms["a"]
    tail = account.waiting * (newest + 1) - account.next_sum
    return {"dropped": account.dropped + tail, "doubled": account.doubled, "swapped": account.swapped}


@pytest.mark.parametrize(
    ("seqs", "dropped", "doubled", "swapped"),
    [
        ((1, 2, 3, 4, 5), 0, 0, 0),
        ((1, 2, 4, 5), 1, 0, 0),
        ((1, 2, 3), 2, 0, 0),
        ((1, 2, 2, 3, 4, 5), 0, 1, 0),
        ((1, 3, 2, 4, 5), 0, 0, 1),
        ((5, 1, 2, 3, 4), 0, 0, 4),
        ((1, 3, 2, 2, 4, 5), 0, 1, 1),
    ],
)
def test_every_dropped_doubled_and_swapped_push_is_noticed(
    seqs: tuple[int, ...], dropped: int, doubled: int, swapped: int
) -> None:
    assert faults_after(seqs) == {"dropped": dropped, "doubled": doubled, "swapped": swapped}


def test_two_messages_under_one_number_are_noticed() -> None:
    ledger = MessageLedger()
    room = ledger.room("a")
    first, second = member(room), member(room)
    first.receive(1, "one", "hello")
    second.receive(1, "another", "hello")
    room.acknowledged("token", 1, "a third")
    assert ledger.close().rooms["a"].renumbered == 2


def test_member_expects_nothing_before_its_join_or_after_its_leave() -> None:
    ledger = MessageLedger()
    room = ledger.room("a")
    early, late = member(room), member(room, last_seq=2)
    for seq in (1, 2, 3):
        early.receive(seq, str(seq), "hello")
    early.leave()
    for seq in (3, 4):
        late.receive(seq, str(seq), "hello")
    account = ledger.close().rooms["a"]
    assert (account.base, account.expected, account.dropped) == (0, 5, 0)
    assert (account.waiting, account.next_sum) == (1, 5)


def test_replay_fills_the_gap_of_an_absence() -> None:
    ledger = MessageLedger()
    absent = member(ledger.room("a"))
    absent.receive(1, "1", "hello")
    absent.replay([(2, "2", "hello"), (3, "3", "hello")])
    absent.rejoined(complete=True)
    absent.receive(4, "4", "hello")
    account = ledger.close().rooms["a"]
    assert (account.expected, account.replayed, account.dropped, account.doubled) == (4, 2, 0, 0)


@pytest.mark.parametrize(("complete", "dropped", "excused"), [(True, 2, 0), (False, 0, 2)])
def test_gap_before_the_replay_is_excused_only_if_the_server_says_so(
    complete: bool, dropped: int, excused: int
) -> None:
    ledger = MessageLedger()
    absent = member(ledger.room("a"))
    absent.replay([(3, "3", "hello")])
    absent.rejoined(complete)
    account = ledger.close().rooms["a"]
    assert (account.dropped, account.excused) == (dropped, excused)


MESSAGES = st.dictionaries(st.integers(1, 100_000), st.text("abc", min_size=1), max_size=300)


@given(MESSAGES, st.integers(2, 5))
def test_windows_of_several_processes_add_up_to_those_of_one(messages: dict[int, str], processes: int) -> None:
    together, parts = Windows(), [Windows() for _ in range(processes)]
    for number, (seq, token) in enumerate(messages.items()):
        digest = fingerprint(token, seq, token)
        together.add(seq, digest)
        parts[number % processes].add(seq, digest)
    merged = Windows()
    for part in parts:
        merged.merge(part)
    width = max(merged.width, together.width)
    merged.widen(width)
    together.widen(width)
    assert merged.sums == together.sums
    assert sum(count for count, _ in merged.sums.values()) == len(messages)


@given(MESSAGES.filter(bool), st.data())
def test_extra_missing_or_changed_message_changes_a_window(messages: dict[int, str], data: st.DataObject) -> None:
    seq = data.draw(st.sampled_from(sorted(messages)))
    one, other = Windows(), Windows()
    for number, token in messages.items():
        one.add(number, fingerprint(token, number, token))
        if number != seq:
            other.add(number, fingerprint(token, number, token))
    assert one != other
    other.add(seq, fingerprint(messages[seq], seq, "another id"))
    assert one != other


def test_books_survive_the_transfer_from_a_worker_to_its_master() -> None:
    ledger = MessageLedger()
    room = ledger.room("a")
    recipient = member(room)
    recipient.receive(2, "2", "hello")
    room.account.sent += 2
    room.acknowledged("t", 2, "2")
    room.unconfirmed("u")
    books = ledger.close()
    assert msgspec.json.decode(msgspec.json.encode(books), type=Books) == books
    merged = Books(books.run)
    merged.merge(books)
    merged.merge(msgspec.json.decode(msgspec.json.encode(books), type=Books))
    account = merged.rooms["a"]
    assert (account.sent, account.acked, account.dropped, account.waiting) == (4, 2, 2, 2)
    assert account.unconfirmed == ["u", "u"]


def run_for(ledger: MessageLedger, members: list[LedgerMember], seqs: range) -> None:
    """Each message is acknowledged and received by all; every third is swapped with the next."""
    room = members[0].room
    for seq in seqs:
        other = seq + 1 if seq % 3 == 1 else seq - 1 if seq % 3 == 2 else seq
        room.acknowledged(ledger.token(), other, f"id-{other}")
        for each in members:
            each.receive(other, f"id-{other}", text_of(ledger.run, "t", 1, 1))


def allocated() -> int:
    """Return the bytes that the ledger's package holds. Other threads of a test's process allocate memory too."""
    own = tracemalloc.take_snapshot().filter_traces([tracemalloc.Filter(True, "*/chatsys/results/*")])
    return sum(trace.size for trace in own.traces)


@pytest.mark.slow
def test_ledger_of_ten_times_as_many_messages_is_no_larger() -> None:
    ledger = MessageLedger()
    members = [member(ledger.room("a")) for _ in range(3)]
    tracemalloc.start()
    try:
        run_for(ledger, members, range(1, 6_001))
        before = allocated()
        run_for(ledger, members, range(6_001, 60_001))
        after = allocated()
    finally:
        tracemalloc.stop()
    assert after - before < 20_000
    assert len(ledger.room("a").account.acknowledged.sums) <= WINDOWS
    assert ledger.room("a").account.acked == 60_000


def test_unacknowledged_messages_are_kept_up_to_a_limit_then_counted() -> None:
    room = MessageLedger().room("a")
    for number in range(10_005):
        room.unconfirmed(str(number))
    assert (len(room.account.unconfirmed), room.account.unconfirmed_lost) == (10_000, 5)


def test_stamp_is_read_back_and_foreign_text_has_none() -> None:
    stamp = stamp_of(text_of("run", "p-1", 12, 34))
    assert stamp is not None
    assert (stamp.run, stamp.token, stamp.intended, stamp.sent) == ("run", "p-1", 12, 34)
    for text in ("", "hello", "a.b.c.d.e f", "1.2.3.4", "1.2.3.4.5.6 x"):
        assert stamp_of(text) is None


def test_base_of_merged_books_is_the_earliest_join() -> None:
    one, other, empty = RoomAccount(base=7), RoomAccount(base=3), RoomAccount()
    one.merge(other)
    one.merge(empty)
    assert one.base == 3
