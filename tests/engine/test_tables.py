"""Each state machine has a table of its states in its docstring: one line per state, as wide as its rules."""

from __future__ import annotations

import pytest

from chatsys.engine import connection, outbound
from chatsys.engine.engine import Probe
from chatsys.engine.outbound import State
from chatsys.engine.websocket import WebSocket
from chatsys.protocol.frames import FrameReader
from chatsys.server.http import Handshake, HttpProtocol


def table(documented: object) -> list[str]:
    """Return the lines of the first table in a docstring: header and rows, without the rules."""
    lines = [line.strip() for line in (documented.__doc__ or "").splitlines()]
    rules = [number for number, line in enumerate(lines) if line.startswith("==")]
    assert len(rules) == 3
    width = len(lines[rules[0]])
    rows = lines[rules[0] + 1 : rules[2]]
    assert all(len(row) <= width for row in rows)
    return [row for row in rows if not row.startswith("==")]


def states(documented: object) -> list[str]:
    header, *rows = table(documented)
    assert header.startswith("state ")
    return [row.split()[0] for row in rows]


def test_connection_table_has_one_line_for_each_state() -> None:
    assert states(connection) == [state.name for state in State]


@pytest.mark.parametrize("documented", [outbound, WebSocket, FrameReader, Probe, HttpProtocol, Handshake])
def test_state_machine_has_a_line_for_each_state_and_names_no_other(documented: object) -> None:
    found = states(documented)
    assert len(found) == len(set(found)) >= 3
    assert "next states" in table(documented)[0]
