"""Shared parts of experiments: resources opened side by side are closed again, even if one of them fails."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from chatsys.errors import OperatorError
from chatsys.lab.runner.environment import enter_all


@asynccontextmanager
async def noted(name, open_now):
    if name == "broken":
        raise OperatorError("It is broken.")
    open_now.add(name)
    try:
        yield name
    finally:
        open_now.remove(name)


async def test_contexts_are_entered_in_the_given_order_and_left_with_the_stack() -> None:
    open_now: set[str] = set()
    async with AsyncExitStack() as stack:
        assert await enter_all(stack, [noted(name, open_now) for name in "cab"]) == ["c", "a", "b"]
        assert open_now == {"a", "b", "c"}
    assert not open_now


async def test_failing_context_raises_its_own_error_and_the_others_are_left() -> None:
    open_now: set[str] = set()
    with pytest.raises(OperatorError, match="It is broken"):
        async with AsyncExitStack() as stack:
            await enter_all(stack, [noted(name, open_now) for name in ("a", "broken", "b")])
    assert not open_now
