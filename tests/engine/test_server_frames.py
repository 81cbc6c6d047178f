"""WebSocket frames that a client makes and reads, compared with those of the websockets library."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.streams import StreamReader

from chatsys.protocol import frames

PAYLOADS = st.one_of(st.binary(max_size=300), st.integers(65_530, 65_540).map(bytes))


def parsed(data: bytes) -> Frame:
    """Read one client frame with the other library."""
    reader = StreamReader()
    reader.feed_data(data)
    parser = Frame.parse(reader.read_exact, mask=True)
    with pytest.raises(StopIteration) as done:
        next(parser)
    return done.value.value


@given(PAYLOADS)
def test_client_frame_is_masked_and_carries_its_message(payload: bytes) -> None:
    frame = parsed(frames.masked(payload))
    assert (frame.opcode, bytes(frame.data), frame.fin) == (Opcode.TEXT, payload, True)


@given(st.lists(PAYLOADS, max_size=4), st.data())
def test_messages_are_read_whole_wherever_the_stream_is_cut(payloads: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(Frame(Opcode.TEXT, payload).serialize(mask=False) for payload in payloads)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    reader, messages = frames.ServerFrames(), []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        messages += reader.feed(stream[start:end])
    assert messages == [(frames.TEXT, payload) for payload in payloads]


def test_fragments_are_joined_and_a_ping_between_them_is_separate() -> None:
    parts = (
        Frame(Opcode.TEXT, b"one ", fin=False),
        Frame(Opcode.PING, b"?"),
        Frame(Opcode.CONT, b"two ", fin=False),
        Frame(Opcode.CONT, b"three"),
    )
    stream = b"".join(part.serialize(mask=False) for part in parts)
    assert frames.ServerFrames().feed(stream) == [(frames.PING, b"?"), (frames.TEXT, b"one two three")]


@pytest.mark.parametrize(
    ("stream", "cause"),
    [
        (b"\xc1\x00", "a reserved bit is set"),
        (b"\x81\x80\0\0\0\0", "a frame of the server is masked"),
        (b"\x80\x00", "a continuation without a beginning"),
        (b"\x81\x7f\xff\xff\xff\xff\xff\xff\xff\xff", "is over the limit"),
    ],
)
def test_protocol_violation_is_an_error_with_its_cause(stream: bytes, cause: str) -> None:
    with pytest.raises(frames.FrameError, match=cause):
        frames.ServerFrames().feed(stream)
