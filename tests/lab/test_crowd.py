"""The lab's crowd hears what a server sends, and notices what it should not have sent."""

from __future__ import annotations

import pytest

from chatsys.errors import OperatorError
from chatsys.lab.crowd.scenes import _deliveries
from chatsys.lab.crowd.sockets import Member, _occurrences, frames


def server_frame(payload: bytes) -> bytes:
    """An unmasked text frame, as a server sends it."""
    size = len(payload)
    if size < 126:
        return bytes((0x81, size)) + payload
    if size < 65_536:
        return b"\x81\x7e" + size.to_bytes(2, "big") + payload
    return b"\x81\x7f" + size.to_bytes(8, "big") + payload


def member_that_heard(*numbers: int) -> Member:
    """A member that got messages with these sequence numbers, one a microsecond."""
    member = Member.__new__(Member)
    member.arrived = [
        (2_000_000 + 1_000 * place, server_frame(b'42["receive-message",{"seq":%d}]' % seq))
        for place, seq in enumerate(numbers)
    ]
    return member


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536])
def test_frames_of_every_length_are_read_whole_however_they_are_cut(size: int) -> None:
    payload = b"x" * size
    data = server_frame(payload) * 2
    cut = max(1, len(data) // 3)
    pieces = [(place, data[place : place + cut]) for place in range(0, len(data), cut)]
    assert [text for _, text in frames(pieces)] == [payload, payload]


def test_the_time_of_a_frame_is_that_of_its_last_piece() -> None:
    data = server_frame(b"hello")
    assert list(frames([(1, data[:3]), (2, data[3:])])) == [(2, b"hello")]


def test_a_binary_frame_is_refused() -> None:
    with pytest.raises(OperatorError, match="not text"):
        list(frames([(1, b"\x82\x01x")]))


def test_an_event_cut_in_two_by_the_network_is_counted_once() -> None:
    member = Member.__new__(Member)
    member.tail = b""
    data = b'42["receive-message",1]42["receive-message",2]'
    for cut in range(len(data)):
        member.tail = b""
        counts = [_occurrences(member, piece, b'["receive-message"') for piece in (data[:cut], data[cut:])]
        assert sum(counts) == 2


def test_deliveries_in_order_are_clean_and_timed_from_their_send() -> None:
    latencies, audit = _deliveries([member_that_heard(7, 8, 9)], [1_000_000, 1_000_000, 1_000_000])
    assert latencies == [1000.0, 1001.0, 1002.0]
    assert audit == {"lost": 0, "doubled": 0, "swapped": 0}


@pytest.mark.parametrize(
    ("heard", "audit"),
    [
        ((1, 2), {"lost": 1, "doubled": 0, "swapped": 0}),
        ((1, 2, 2, 3), {"lost": 0, "doubled": 1, "swapped": 1}),
        ((1, 3, 2), {"lost": 0, "doubled": 0, "swapped": 1}),
    ],
)
def test_a_lost_a_doubled_and_a_swapped_delivery_are_counted(heard: tuple[int, ...], audit: dict[str, int]) -> None:
    assert _deliveries([member_that_heard(*heard)], [0, 0, 0])[1] == audit
