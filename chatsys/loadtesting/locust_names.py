"""The names of Locust that are replaced, each with its reason. No other module replaces a name of Locust.

tests/project/test_private_names.py reads this table. It fails if a name is missing or its code has changed. Then read
Locust's new source, adapt ``figures`` and ``recent``, run tests/loadtests, and put the new digest into the test.
"""

from __future__ import annotations

from typing import Any

import locust.stats

REPLACED = {
    "bucket_response_time": "Makes the keys of the histograms: whole milliseconds, so 0.1 ms and 0.4 ms share one.",
    "calculate_response_time_percentile": "Sorts a dictionary; a histogram of fixed size answers in few steps.",
    "update_stats_history": "Adds a point to the charts every five seconds for as long as a run lasts.",
    "StatsEntry.log": "Fills the histogram, which is replaced by one of fixed size when it has grown.",
    "StatsEntry.extend": "Merges a batch of times; the batches of the last seconds are also kept.",
    "StatsEntry.serialize": "A worker's report: a master expects the histogram as a dictionary.",
    "StatsEntry.get_current_response_time_percentile": "Needs a copy of the whole histogram for each second.",
    "StatsEntry.to_string": "The terminal's table: whole milliseconds, and 0 for what was not timed.",
    "StatsEntry.percentile": "The terminal's percentiles: whole milliseconds.",
    "StatsEntry.to_dict": "The page and the HTML report: whole milliseconds, and 0 for what was not timed.",
    "StatsCSV._requests_data_rows": "The CSV table: 0 for what was not timed. Private; Locust's own writer calls it.",
    "StatsCSV._percentile_fields": "The percentiles in both CSV files: whole milliseconds. Private, as the one above.",
}


def replace(name: str, by: Any) -> None:
    """Replace a name of ``locust.stats``. Raises KeyError if the table lacks it."""
    assert REPLACED[name]
    owner, _, attribute = name.rpartition(".")
    setattr(getattr(locust.stats, owner) if owner else locust.stats, attribute, by)
