"""Slow one function of the chatsys that this process runs, without touching its source: for the study alone.

Python imports a module of this name at its start from PYTHONPATH. PLANTED_SLOWDOWN=PLACE:FACTOR in the environment
makes the functions of PLACE take FACTOR times as long: each spins for what it took times FACTOR - 1. Classes are
recognised by their names as they are made, in whichever module they are.
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
    "fan-out": {"FairScheduler": ("_turn",), "Sequence": ("_deliver",)},
}
"""For each place the classes and their methods. A test looks whether the present code has them."""
_STEPS = 20
"""Between two looks at the clock, which under Valgrind is a system call: the instructions that are counted grow as the
time does."""


class _Spins:
    """What spinning has taken so far, in nanoseconds, and how many calls are under way."""

    total = 0
    calls = 0


def _slowed(function: Callable[..., Any], share: float) -> Callable[..., Any]:
    """``function``, taking its time and ``share`` of it again.

    Of calls that are under way together each spins for its part, and for nothing that others spun: all of them
    together take that much longer.
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
            for _ in range(_STEPS):  # a spin that only read the clock would execute few instructions
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
