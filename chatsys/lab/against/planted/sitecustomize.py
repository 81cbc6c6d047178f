"""Slow some functions of chatsys down in this process, without changing its source. Only the study uses it.

Python imports a module of this name from PYTHONPATH when it starts. PLANTED_SLOWDOWN=PLACE:FACTOR in the environment
makes the functions of PLACE take FACTOR times as long: each call spins for FACTOR - 1 times the time that it took.
Classes are recognised by name when they are created, whatever their module.
"""

from __future__ import annotations

import builtins
import functools
import inspect
import os
import time
from collections.abc import Callable
from typing import Any

PLACES: dict[str, dict[str, tuple[str, ...]]] = {
    "store read": {"MemoryStore": ("history",), "PostgresStore": ("history",)},
    "store write": {"MemoryStore": ("post_message",), "PostgresStore": ("post_message",)},
    "fan-out": {"FairScheduler": ("_write_slice",), "Sequence": ("_deliver",)},
}
"""For each place the classes and their methods. A test checks that they exist."""
_STEPS = 20
"""Loop iterations between two readings of the clock. They make the instruction count grow in proportion to the time."""


class _Spins:
    """The nanoseconds spent spinning so far, and the number of calls in progress."""

    total = 0
    calls = 0


def _slowed(function: Callable[..., Any], share: float) -> Callable[..., Any]:
    """``function`` made slower by ``share`` of its own time.

    Concurrent calls divide the delay among themselves, and no call counts the time that others spun. So all of them
    together take ``share`` longer.
    """
    spins = _Spins()

    def enter() -> tuple[int, int, int]:
        spins.calls += 1
        return time.perf_counter_ns(), spins.total, spins.calls

    def leave(began: int, spun: int, together: int) -> None:
        now = time.perf_counter_ns()
        took = now - began - (spins.total - spun)
        until = now + took * share / max(together, spins.calls)
        spins.calls -= 1
        while (at := time.perf_counter_ns()) < until:
            for _ in range(_STEPS):  # reading the clock is a system call under Valgrind: few counted instructions
                pass
        spins.total += at - now

    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def awaited(*arguments: Any, **named: Any) -> Any:
            entered = enter()
            try:
                return await function(*arguments, **named)
            finally:
                leave(*entered)

        return awaited

    @functools.wraps(function)
    def called(*arguments: Any, **named: Any) -> Any:
        entered = enter()
        try:
            return function(*arguments, **named)
        finally:
            leave(*entered)

    return called


def _plant(place: str, share: float) -> None:
    build = builtins.__build_class__

    def planted(body: Callable[..., Any], name: str, /, *bases: Any, **named: Any) -> Any:
        made = build(body, name, *bases, **named)
        for method in PLACES[place].get(name, ()):
            if method in vars(made):
                setattr(made, method, _slowed(vars(made)[method], share))
        return made

    builtins.__build_class__ = planted


if planted := os.environ.get("PLANTED_SLOWDOWN"):
    _place, _, _factor = planted.partition(":")
    _plant(_place, float(_factor) - 1)
