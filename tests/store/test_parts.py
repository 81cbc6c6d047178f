"""The parts of a long operation take about the intended time on any database."""

from __future__ import annotations

import pytest

from chatsys.store.postgres.parts import TARGET, PartSize


def run(size: PartSize, seconds_per_row: float, parts: int = 40) -> list[float]:
    """Return the durations of some parts."""
    took = []
    for _ in range(parts):
        took.append(size.rows * seconds_per_row)
        size.learn(size.rows, took[-1])
    return took


@pytest.mark.parametrize("seconds_per_row", [0.00005, 0.0002, 0.001])
def test_part_durations_approach_the_intended_time(seconds_per_row):
    took = run(PartSize(1, 50, 1000), seconds_per_row)
    assert took[-1] == pytest.approx(TARGET, rel=0.1)
    assert max(took) <= max(took[0], TARGET * 1.1)


def test_parts_shrink_at_once_when_the_database_becomes_slow():
    size = PartSize(1, 50, 1000)
    run(size, 0.00005)
    assert run(size, 0.001)[1] == pytest.approx(TARGET, rel=0.1)


def test_part_sizes_are_limited_and_shrink_after_a_slow_failure(monkeypatch):
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
