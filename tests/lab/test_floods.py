"""How a run reports floods: their figures, broken bounds first, and a client that writes them."""

from __future__ import annotations

import re
import socket
import threading
import time
from contextlib import suppress

import pytest
from websockets.utils import accept_key

from chatsys.lab.experiments.fairness import NAMES
from chatsys.lab.faults.catalogue import chosen
from chatsys.lab.record import Point
from chatsys.lab.workloads.floods import FLOODS, HALF_POSTS, hold_open, write_flood
from chatsys.protocol.frames import FrameReader
from chatsys.reports import floods
from chatsys.reports.bench import page
from chatsys.results.names import CONNECTIONS, DISCONNECTED, FLOOD, GROWTH, SENT, SERVER_SHARE


def measured(flood: str, p50: float, p99: float, *, disconnected: int = 0, growth: float = 1e6) -> list[Point]:
    figures = {
        (0, "p50"): 900.0, (0, "p99"): 1_500.0, (0, "max"): 1_600.0,
        (1, "p50"): p50, (1, "p99"): p99, (1, "max"): 2 * p99,
        (1, DISCONNECTED): disconnected, (1, GROWTH): growth, (1, SENT): 8e6, (1, CONNECTIONS): 3,
        (1, SERVER_SHARE): 0.97,
    }  # fmt: skip
    return [
        Point(experiment=FLOOD, subject=flood, x=x, metric=metric, value=value, unit="")
        for (x, metric), value in figures.items()
    ]


def test_answer_for_floods_within_the_bounds_names_the_worst(result):
    result.points += measured("pings", 1_200, 9_000) + measured("typing", 4_900, 30_000, growth=7e6)
    assert floods.answer(floods.rows(result)) == (
        "In each of 2 floods the others stayed within a median of 5 ms and a p99 of 50 ms. The highest median of"
        " another client was 4.90 ms (typing), the highest p99 30.0 ms (typing). No flood disconnected anybody else."
        " The server's memory grew by at most 7.0 MB (typing)."
    )


@pytest.mark.parametrize(("p50", "p99"), [(5_100, 9_000), (1_000, 50_100)])
def test_floods_that_break_a_bound_or_disconnect_come_first(result, p50, p99):
    result.points += measured("pings", p50, p99) + measured("typing", 1_000, 3_000, disconnected=2)
    said = floods.answer(floods.rows(result))
    assert said.startswith("**Beyond a median of 5 ms or a p99 of 50 ms: pings (")
    assert "**Others were disconnected: typing (2).**" in said
    assert "stayed within" not in said
    assert "No flood disconnected" not in said


def test_every_flood_has_a_row_in_report_and_terminal_and_a_picture(result):
    for name in NAMES:
        result.points += measured(name, 1_000, 3_000)
    text = page(result, []).markdown()
    assert all(f"| {name} | 0.9 / 1.5 ms | 1 / 3 ms | yes | 0 | 1.0 MB |" in text for name in NAMES)
    assert "floods.svg" in text
    assert [row[0] for row in floods.short_table(result).rows] == list(NAMES)


def test_run_without_floods_does_not_mention_them(result):
    assert "One client against all others" not in page(result, []).markdown()


def test_flood_that_was_interrupted_has_no_row(result):
    result.points += measured("pings", 1_000, 3_000)[:3]
    assert floods.rows(result) == []


@pytest.mark.parametrize("name", FLOODS)
def test_flood_consists_of_whole_frames_and_is_also_a_fault(name):
    frames = FLOODS[name].first + FLOODS[name].frames("a room")
    reader = FrameReader(1_000, 10)
    reader.read(frames, 100)
    assert reader.unfinished <= 2
    assert not reader.more
    assert chosen(f"flood: {name}")
    assert chosen(HALF_POSTS)


@pytest.fixture
def closing():
    """Run a server that answers a handshake, reads a little and closes; give its port and its connection count."""
    counted: list[int] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    accepted, _ = listener.accept()
                except OSError:
                    return
                with accepted, suppress(OSError):
                    key = re.search(r"Sec-WebSocket-Key: (\S+)|$", accepted.recv(4096).decode())[1] or ""
                    answer = f"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: {accept_key(key)}\r\n\r\n"
                    accepted.sendall(answer.encode())
                    counted.append(len(accepted.recv(65_536)))

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", counted
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(5)


def test_flood_reconnects_when_the_server_closes(closing):
    url, counted = closing
    done = write_flood(url, FLOODS["typing"], "room", 0.2)
    assert done.connections >= 2
    deadline = time.monotonic() + 5
    while len(counted) < done.connections and time.monotonic() < deadline:
        time.sleep(0.01)  # the server has not read everything from the last connection yet
    assert done.connections == len(counted)
    assert done.sent > 0


def test_silent_connections_are_held_open(closing):
    url, _ = closing
    done = hold_open(url, b"GET / HTTP/1.1\r\nHos", 0.2, 5)
    assert (done.connections, done.sent) == (5, 5 * 19)
