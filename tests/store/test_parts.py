"""The parts of a long work take about as long as they should, on any database."""

from __future__ import annotations

import pytest

from chatsys.store.postgres.parts import TARGET, PartSize


def run(size: PartSize, seconds_per_row: float, parts: int = 40) -> list[float]:
    """How long each of some parts took."""
    took = []
    for _ in range(parts):
        took.append(size.rows * seconds_per_row)
        size.learn(size.rows, took[-1])
    return took


@pytest.mark.parametrize("seconds_per_row", [0.00005, 0.0002, 0.001])
def test_parts_come_to_take_the_time_that_they_should(seconds_per_row):
    took = run(PartSize(1, 50, 1000), seconds_per_row)
    assert took[-1] == pytest.approx(TARGET, rel=0.1)
    assert max(took) <= max(took[0], TARGET * 1.1)


def test_a_database_that_becomes_slow_has_smaller_parts_at_once():
    size = PartSize(1, 50, 1000)
    run(size, 0.00005)
    assert run(size, 0.001)[1] == pytest.approx(TARGET, rel=0.1)


def test_parts_have_bounds_and_one_that_fails_makes_the_next_smaller_if_it_took_long(monkeypatch):
    size = PartSize(10, 50, 100)
    run(size, 1.0)
    assert size.rows == 10
    run(size, 0.0)
    assert size.rows == 100
    moments = iter([0.0, 10 * TARGET])
    monkeypatch.setattr("chatsys.store.postgres.parts.time.perf_counter", lambda: next(moments))
    with pytest.raises(ValueError, match="fails"), size.timed():
        raise ValueError("fails")
    assert size.rows == 10
