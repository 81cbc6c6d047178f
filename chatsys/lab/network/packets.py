"""Make the kernel drop packets to and from TCP ports of this machine, with iptables."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from chatsys.errors import OperatorError

NEEDS_ROOT = "dropping packets needs root, and in a container also NET_ADMIN"
_NET_ADMIN = 12  # the bit of the capability
_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


def why_none_can_be_dropped() -> str:
    """What is missing for dropping packets, in one line; empty if nothing is."""
    if os.geteuid() != 0:
        return NEEDS_ROOT
    if shutil.which("iptables", path=_PATH) is None:
        return "dropping packets needs iptables: apt-get install iptables"
    found = re.search(r"^CapEff:\s*(\w+)", Path("/proc/self/status").read_text("utf-8"), re.MULTILINE)
    if found and not int(found[1], 16) >> _NET_ADMIN & 1:
        return NEEDS_ROOT
    try:
        _iptables("-n", "-L", "INPUT")
    except OperatorError as error:
        return error.message
    return ""


@contextmanager
def packets_dropped(ports: Iterable[int]) -> Iterator[None]:
    """Within the block, drop all packets to and from these TCP ports on the loopback interface, and no others.

    Raises OperatorError with the error of iptables.
    """
    with ExitStack() as stack:
        for port in ports:
            for end in ("--dport", "--sport"):
                rule = ["INPUT", "-i", "lo", "-p", "tcp", end, str(port), "-j", "DROP"]
                _iptables("-I", *rule)
                stack.callback(_iptables, "-D", *rule)
        yield


def _iptables(*arguments: str) -> None:
    command = ["iptables", "-w", *arguments]
    done = subprocess.run(command, env={"PATH": _PATH}, capture_output=True, text=True, check=False)
    if done.returncode:
        raise OperatorError(f"iptables can't be used here: {done.stderr.strip()}")
