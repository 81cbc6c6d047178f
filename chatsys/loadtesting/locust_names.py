"""What is replaced in Locust, each with the reason: it offers no other way. No other module sets a name of Locust.

tests/house/test_private_names.py reads this table: it fails when a name is gone and when the code behind one has
changed. Then read the new source, adapt ``figures`` and ``recent``, run tests/loadtests, and put the new digest into
the test.
"""

from __future__ import annotations

from typing import Any

import locust.stats

REPLACED = {
    "bucket_response_time": "The keys of its histograms: two digits, where times of 0.4 ms and 0.6 ms must differ.",
    "calculate_response_time_percentile": "Sorts a dictionary; a histogram of fixed size answers in few steps.",
    "update_stats_history": "Adds a point to its charts each five seconds for as long as a run lasts.",
    "StatsEntry.log": "Fills the histogram, which is exchanged for one of fixed size when it is large.",
    "StatsEntry.extend": "Adds a batch, which is how times come here; the last seconds of them are kept beside it.",
    "StatsEntry.serialize": "What a worker reports: the histogram of fixed size as the dictionary that a master reads.",
    "StatsEntry.get_current_response_time_percentile": "Needs a copy of the whole histogram for each second.",
    "StatsEntry.to_string": "The terminal's table: whole milliseconds, and 0 for what was not timed.",
    "StatsEntry.percentile": "The terminal's percentiles: whole milliseconds.",
    "StatsEntry.to_dict": "The page and the HTML report: whole milliseconds, and 0 for what was not timed.",
    "StatsCSV._requests_data_rows": (
        "The CSV table: 0 for what was not timed. Private; called by the writer that Locust makes itself."
    ),
    "StatsCSV._percentile_fields": "The percentiles in both CSV files: whole milliseconds. Private, as that.",
}


def replace(name: str, by: Any) -> None:
    """Set a name of ``locust.stats``, which must be in the table. Raises KeyError for another."""
    assert REPLACED[name]
    owner, _, attribute = name.rpartition(".")
    setattr(getattr(locust.stats, owner) if owner else locust.stats, attribute, by)
