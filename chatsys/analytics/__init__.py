"""Result files and PostgreSQL's own views as pandas frames, and pictures of them.

``Monitor`` looks at a database, ``diff`` at two snapshots of its counters. The modules ``runs`` (what the lab and the
load tests wrote), ``plots`` (a function a picture) and ``answers`` (what a run says, in words) are imported by name.
"""

from __future__ import annotations

from chatsys.extras import require

require("analytics")

from chatsys.analytics.formatting import pretty
from chatsys.analytics.monitor import Monitor, MonitorWarning
from chatsys.analytics.snapshots import Snapshot, diff
from chatsys.analytics.watching import Watch

__all__ = ["Monitor", "MonitorWarning", "Snapshot", "Watch", "diff", "pretty"]
