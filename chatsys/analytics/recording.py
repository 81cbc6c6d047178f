"""Record the frames of a monitor: ``python -m chatsys.analytics.recording FOLDER`` records a simulated chat.

The notebook on monitoring shows such a recording, so it can be read and executed without a server.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
import warnings
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from chatsys import __version__
from chatsys.analytics.catalogue import QUERIES
from chatsys.analytics.living import living_chat
from chatsys.analytics.monitor import Monitor, MonitorWarning
from chatsys.analytics.snapshots import diff
from chatsys.results.upgrades import SCHEMA_VERSION

SECONDS = 30.0
_SAMPLED = {"read_lag": {"messages": 500}, "delivery_lag": {"messages": 500}}
_PATHS = "file|director|path"
"""Settings whose values are paths of the machine. They do not belong into a published file."""
_LIMITATIONS = (
    "Simulated guests call the chat's own functions: there are no sockets, no network and no people.",
    "Chat and database share one machine, and the database is minutes old: it has no bloat and fits in memory.",
)

_OF_OTHERS = ("Other programs made the traffic: this shows what the database did, not how long its clients waited.",)


def record(
    monitor: Monitor,
    folder: Path,
    seconds: float = SECONDS,
    *,
    every: float = 1.0,
    limitations: tuple[str, ...] = _OF_OTHERS,
) -> Path:
    """Watch for ``seconds``, run every query at the end, and write ``folder/result.json``; return its path.

    Ctrl-C ends the recording early and writes what was seen until then. ``runs.load_run(folder)`` reads it.
    """
    before, began = monitor.snapshot(), time.monotonic()
    with suppress(KeyboardInterrupt), monitor.watch(seconds=seconds, every=every) as watch:
        watch.wait()
    seconds = min(seconds, time.monotonic() - began)
    change = diff(before, monitor.snapshot())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MonitorWarning)  # the frames' attrs keep them
        frames = {name: monitor.frame(name, **_SAMPLED.get(name, {})) for name in QUERIES}
    settings = frames["settings"]
    frames["settings"] = settings[~settings["name"].str.contains(_PATHS)]
    created = datetime.now(UTC)
    recorded = {
        "schema_version": SCHEMA_VERSION,
        "id": f"monitoring-{created:%Y%m%d-%H%M%S}",
        "created_at": created.isoformat(timespec="seconds"),
        "environment": {
            "chatsys": __version__,
            "cpu": _processor(),
            "cpus": os.cpu_count(),
            "kernel": f"{platform.system()} {platform.release()}",
            "python": f"{platform.python_implementation()} {platform.python_version()}",
            "postgresql": frames["settings"].attrs["server"],
        },
        "seconds": seconds,
        "limitations": limitations,
        "frames": {name: packed(frame) for name, frame in {**frames, "watch": watch.frame(), "diff": change}.items()},
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "result.json"
    path.write_text(json.dumps(recorded, allow_nan=False) + "\n", encoding="utf-8")
    return path


def _processor() -> str:
    """The processor's name according to Linux, otherwise according to Python."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def packed(frame: pd.DataFrame) -> dict[str, Any]:
    """A frame as plain JSON: dtypes, rows and attrs. Missing values are null."""
    rows = json.loads(frame.to_json(orient="values", date_format="iso", date_unit="us", double_precision=15))
    return {
        "dtypes": {str(name): str(dtype) for name, dtype in frame.dtypes.items()},
        "rows": rows,
        "attrs": frame.attrs,
    }


def main() -> None:
    """Record a simulated chat."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("folder", type=Path, help="where result.json is written")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="how long to watch")
    given = parser.parse_args()
    with living_chat() as url, Monitor(url) as monitor:
        print(record(monitor, given.folder, given.seconds, limitations=_LIMITATIONS))


if __name__ == "__main__":
    main()
