"""Typing and status are told at once, at most ten times a second, and the last value always."""

from __future__ import annotations

import asyncio

from chatsys.realtime.hub import Member
from chatsys.realtime.pace import MOST, Pace

from .conftest import Make, settle


def paced() -> tuple[Pace, list[bool], list[Exception]]:
    told: list[bool] = []
    failures: list[Exception] = []

    async def tell(value: bool) -> None:
        told.append(value)

    return Pace(tell, failures.append), told, failures


async def test_changes_are_told_at_once_and_the_newest_of_too_many_when_the_second_is_over() -> None:
    pace, told, _ = paced()
    loop = asyncio.get_running_loop()
    start = loop.time()
    for number in range(1001):
        await pace.offer(number % 2 == 0)
    assert told == [number % 2 == 0 for number in range(MOST)]
    await settle(lambda: len(told) > MOST)
    assert loop.time() - start >= 0.99
    assert told[MOST:] == [True]


async def test_a_repetition_is_told_once_a_second() -> None:
    pace, told, _ = paced()
    for _ in range(100):
        await pace.offer(True)
    assert told == [True]


async def test_a_value_that_came_back_meanwhile_is_not_told_again() -> None:
    pace, told, _ = paced()
    for number in range(MOST + 2):
        await pace.offer(number % 2 == 0)
    await asyncio.sleep(1.1)
    assert len(told) == MOST


async def test_what_fails_later_is_reported() -> None:
    failures: list[Exception] = []
    calls: list[bool] = []

    async def tell(value: bool) -> None:
        calls.append(value)
        if len(calls) > MOST:
            raise RuntimeError("away")

    pace = Pace(tell, failures.append)
    for number in range(MOST + 1):
        await pace.offer(number % 2 == 0)
    await settle(lambda: bool(failures))
    assert str(failures[0]) == "away"


async def test_a_member_that_left_tells_nothing_more(make_server: Make) -> None:
    server = await make_server()
    ear, _ = await server.enter("r", "ann")
    typist, _ = await server.enter("r", "ben")
    for number in range(MOST + 5):
        await server.send(typist, "typing", number % 2 == 0)
    member: Member | None = typist.member
    assert member is not None
    assert ear.names().count("user-typing") == MOST
    await server.send(typist, "leave-room")
    assert all(pace._timer is not None and pace._timer.cancelled() for pace in member.paces.values())
