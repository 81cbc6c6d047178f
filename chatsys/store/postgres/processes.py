"""Whether a process of this machine still runs, on Linux. On other systems, and for other machines, this is unknown.

Four words identify a process: the kernel's boot id, the PID namespace of the pid (each container has its own), the pid,
and the start time in clock ticks since the boot, because pids are reused. See
https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html
"""

from __future__ import annotations

import os
from pathlib import Path

_ENDED = {"Z", "X"}  # a zombie: ended, and not yet collected by its parent


def this_process() -> str | None:
    """The four words that identify this process, or None where they are unknown."""
    try:
        pid = os.getpid()
        return f"{_machine()} {pid} {_stat(pid)[1]}"
    except OSError:
        return None


def is_running(process: str | None) -> bool | None:
    """Whether the process with these four words runs; None if this is unknown here."""
    try:
        boot, namespace, pid, started = (process or "").split(" ")
        if f"{boot} {namespace}" != _machine():
            return None
        os.kill(int(pid), 0)
        state, began = _stat(int(pid))
    except ProcessLookupError:
        return False
    except (OSError, ValueError):  # we may not see it, or the words have another format
        return None
    return began == started and state not in _ENDED


def _machine() -> str:
    boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    return f"{boot} {os.readlink('/proc/self/ns/pid')}"


def _stat(pid: int) -> tuple[str, str]:
    """The state and start time of a process. The name before them is in parentheses and may contain anything."""
    fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    return fields[0], fields[19]
