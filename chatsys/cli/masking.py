"""Keep passwords out of the process list, where every user of the machine can read a command's arguments."""

from __future__ import annotations

import ctypes
import re
from pathlib import Path

_PASSWORD = re.compile(rb"://[^:/@\0]*:([^@\0]+)@")
_ARG_START = 47
"""The field of /proc/PID/stat that says where a process' arguments begin; see proc(5)."""


def mask_passwords() -> None:
    """Overwrite the passwords of URLs in this process' arguments, as the system shows them. Linux only.

    The program has already read its arguments, and keeps copies.
    """
    try:
        shown = Path("/proc/self/cmdline").read_bytes()
        fields = Path("/proc/self/stat").read_text("ascii", "replace").rpartition(")")[2].split()
    except OSError:  # there is no /proc
        return
    start = int(fields[_ARG_START - 2])  # the first two fields end with the parenthesis
    for found in _PASSWORD.finditer(shown):
        ctypes.memset(start + found.start(1), ord("x"), found.end(1) - found.start(1))
