"""Result files and PostgreSQL's own views as pandas frames, and pictures of them.

``Monitor`` queries a database, and ``diff`` compares two snapshots of its counters. Import these modules by name:
``runs`` (results of the lab and the load tests), ``plots`` (one function for each picture) and ``answers`` (the
conclusions of a run in words).
"""

from __future__ import annotations

from chatsys.extras import require

require("analytics")

from chatsys.analytics.formatting import pretty
from chatsys.analytics.monitor import Monitor, MonitorWarning
from chatsys.analytics.snapshots import Snapshot, diff
from chatsys.analytics.watching import Watch

__all__ = ["Monitor", "MonitorWarning", "Snapshot", "Watch", "diff", "pretty"]
