"""Whether a process of this machine still runs, as Linux tells it. Elsewhere, and of other machines, nothing is known.

A process is named by four words: the kernel's boot id, the PID namespace in which its pid counts (containers of one
machine have their own), the pid, and its start in clock ticks since the boot, since pids are given again. See
https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html
"""

from __future__ import annotations

import os
from pathlib import Path

_ENDED = {"Z", "X"}  # a zombie: ended, and not yet collected by its parent


def this_process() -> str | None:
    """The name of this process; None where it can't be told."""
    try:
        pid = os.getpid()
        return f"{_machine()} {pid} {_stat(pid)[1]}"
    except OSError:
        return None


def is_running(process: str | None) -> bool | None:
    """Whether the process of this name runs; None if that can't be known here."""
    try:
        boot, namespace, pid, started = (process or "").split(" ")
        if f"{boot} {namespace}" != _machine():
            return None
        os.kill(int(pid), 0)
        state, began = _stat(int(pid))
    except ProcessLookupError:
        return False
    except (OSError, ValueError):  # not ours to see, or a name of another making
        return None
    return began == started and state not in _ENDED


def _machine() -> str:
    boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    return f"{boot} {os.readlink('/proc/self/ns/pid')}"


def _stat(pid: int) -> tuple[str, str]:
    """The state and the start of a process. The name before them may hold anything, in parentheses."""
    fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    return fields[0], fields[19]
