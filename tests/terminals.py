"""A terminal in which a test runs a command, presses keys, and reads the output."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path
from typing import Self

_ESCAPES = re.compile(r"\x1b(\[[0-9;?]*[ -/]*[@-~]|[=>])")


class Terminal:
    """Run ``chatsys`` with these arguments in its own terminal until the block ends."""

    def __init__(
        self, *arguments: str, columns: int = 80, lines: int = 24, folder: Path | None = None, **environ: str
    ) -> None:
        self._outside, inside = pty.openpty()
        fcntl.ioctl(inside, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self._inside = inside
        self._open = [self._outside, inside]
        self._kept = termios.tcgetattr(inside)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "chatsys", *arguments],
            stdin=inside,
            stdout=inside,
            stderr=inside,
            start_new_session=True,
            cwd=folder,
            env={**os.environ, "TERM": "xterm-256color", **environ},
        )
        self.raw = ""
        """Everything that was written, including escape sequences."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        for each in self._open:
            os.close(each)

    @property
    def text(self) -> str:
        """Everything that was written so far, without escape sequences."""
        return _ESCAPES.sub("", self.raw)

    @property
    def screen(self) -> str:
        """The last complete screen, for a program that draws whole screens."""
        return _ESCAPES.sub("", self.raw.split("\x1b[H")[-2])

    @property
    def is_as_it_was(self) -> bool:
        """Whether the terminal's settings are the same as before the command."""
        return termios.tcgetattr(self._inside) == self._kept

    def until(self, *words: str) -> None:
        """Read until each of ``words`` has been written from here on."""
        begun = len(self.text)
        deadline = time.monotonic() + 60
        while not all(word in self.text[begun:] for word in words):
            assert self.process.poll() is None, self.text
            assert time.monotonic() < deadline, self.text
            self.read(0.05)

    def press(self, keys: str) -> None:
        """Press keys."""
        os.write(self._outside, keys.encode())

    def interrupt(self) -> None:
        """Press Ctrl-C, for every process of the terminal."""
        os.killpg(self.process.pid, signal.SIGINT)

    def hang_up(self) -> None:
        """Disappear like the terminal of a broken ssh connection; nothing can be read any more."""
        while self._open:
            os.close(self._open.pop())

    def end(self) -> int:
        """Read until the command ends; return its exit status."""
        deadline = time.monotonic() + 60
        while self.process.poll() is None:
            assert time.monotonic() < deadline, self.text
            self.read(0.05)
        while self.read(0.0):
            pass
        return self.process.returncode

    def read(self, seconds: float) -> bool:
        """Read what comes within ``seconds``; return whether something came."""
        if not select.select([self._outside], [], [], seconds)[0]:
            return False
        self.raw += os.read(self._outside, 65_536).decode("utf-8", "replace")
        return True
