"""The lab measures an operator's work by doing and checking that work."""

from __future__ import annotations

from chatsys.lab.workloads.upkeep import adoption, clean_up
from tests.db.conftest import Server


def test_adoption_is_measured_beside_a_copy_of_its_messages(server: Server) -> None:
    samples = list(adoption(server.url, messages=500, rounds=2))
    assert [sample.rows for sample in samples] == [503, 503]
    assert all(sample.seconds > 0 and sample.baseline_seconds > 0 for sample in samples)


def test_clean_up_is_measured_beside_a_delete_of_the_same_rows(server: Server) -> None:
    (sample,) = clean_up(server.url, messages=400, rounds=1)
    assert 199 <= sample.rows <= 200
