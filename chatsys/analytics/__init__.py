"""Result files and PostgreSQL's own views as pandas frames, and pictures of them.

``Monitor`` looks at a database, ``diff`` at two snapshots of its counters, ``runs`` reads what the lab and the load
tests wrote, ``plots`` draws.
"""

from __future__ import annotations

from chatsys.analytics.monitor import Monitor, MonitorWarning
from chatsys.analytics.snapshots import Snapshot, diff
from chatsys.analytics.watching import Watch

__all__ = ["Monitor", "MonitorWarning", "Snapshot", "Watch", "diff"]
