"""The loop of the live screen: it reads keys, looks in a separate thread, and draws the screen."""

from __future__ import annotations

import os
import select
import sys
import termios
import time
import tty
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime

from rich.console import Console
from rich.live import Live
from rich.text import Text

from chatsys.analytics.top.looking import PANES, Look, Looker
from chatsys.analytics.top.screen import ScreenState, screen
from chatsys.errors import ChatsysError

_TICK = 0.1
_END = "\x04"
_FASTEST, _SLOWEST = 0.5, 60.0


def pressed(state: ScreenState, key: str) -> ScreenState:
    """The state after a key was pressed."""
    if key in {"q", "Q", _END}:
        return replace(state, done=True)
    if key == " ":
        return replace(state, paused=not state.paused)
    if key in {"h", "?"}:
        return replace(state, help=not state.help)
    if key in {"1", "2", "3"}:
        return replace(state, pane=PANES[int(key) - 1], sort=0, reverse=False, help=False)
    if key == "s":
        return replace(state, sort=state.sort + 1, reverse=False)
    if key == "r":
        return replace(state, reverse=not state.reverse)
    if key in {"+", "-"}:
        factor = 2.0 if key == "+" else 0.5
        return replace(state, every=min(_SLOWEST, max(_FASTEST, state.every * factor)))
    return state


def once(looker: Looker, title: str, every: float, width: int) -> Iterator[Text]:
    """One screen for a pipe or a file: rates need two looks, ``every`` seconds apart."""
    before = looker.look("rooms")
    time.sleep(every)
    after = looker.look("rooms")
    console = Console(width=width, color_system=None)
    with console.capture() as drawn:
        now = datetime.now().astimezone()
        console.print(screen(before, after, ScreenState(every=every), title=title, now=now, width=width, height=40))
    yield from (Text(line) for line in drawn.get().rpartition("q quit")[0].rstrip().splitlines())


def run(looker: Looker, title: str, every: float) -> None:
    """Show the screen until ``q`` or Ctrl-C. Raises the StoreError of the first look, before the screen opens."""
    console = Console()
    state = ScreenState(every=every)
    before = after = looker.look(state.pane)
    problem, due = "", time.monotonic() + min(1.0, every)
    running: Future[Look] | None = None
    with (
        ThreadPoolExecutor(1, "chatsys top") as pool,
        _keys() as read,
        Live(console=console, screen=True, auto_refresh=False) as live,
    ):
        while not state.done:
            if running is not None and running.done():
                try:
                    before, after, problem = after, running.result(), ""
                except ChatsysError as error:
                    problem = error.message
                running, due = None, time.monotonic() + state.every
            if running is None and time.monotonic() >= due and (not state.paused or due == 0.0):
                running = pool.submit(looker.look, state.pane)
            width, height = console.size
            now = datetime.now().astimezone()
            shown = screen(before, after, state, title=problem or title, now=now, width=width, height=height)
            live.update(shown, refresh=True)
            for key in read(_TICK):
                chosen = pressed(state, key)
                due = 0.0 if chosen.pane != state.pane else due
                state = chosen


@contextmanager
def _keys() -> Iterator[Callable[[float], str]]:
    """A function that returns the keys pressed within the given seconds. The terminal is restored at the end."""
    number = sys.stdin.fileno()
    kept = termios.tcgetattr(number)

    def read(seconds: float) -> str:
        ready, _, _ = select.select([number], [], [], seconds)
        if not ready:
            return ""
        try:
            return os.read(number, 64).decode("utf-8", "ignore") or _END
        except OSError:  # the terminal is gone, as when an ssh connection breaks
            return _END

    tty.setcbreak(number)
    try:
        yield read
    finally:
        termios.tcsetattr(number, termios.TCSADRAIN, kept)
