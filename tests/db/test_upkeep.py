"""What the laboratory measures of an operator's work is that work, checked."""

from __future__ import annotations

from chatsys.lab.workloads.upkeep import adoption, clean_up
from tests.db.conftest import Server


def test_an_adoption_is_measured_beside_a_copy_of_its_messages(server: Server) -> None:
    turns = list(adoption(server.url, messages=500, rounds=2))
    assert [turn.rows for turn in turns] == [503, 503]
    assert all(turn.seconds > 0 and turn.baseline_seconds > 0 for turn in turns)


def test_a_clean_up_is_measured_beside_a_delete_of_the_same_rows(server: Server) -> None:
    (turn,) = clean_up(server.url, messages=400, rounds=1)
    assert 199 <= turn.rows <= 200
