"""No session remains whose fate the store did not confirm or whose socket has closed, at any number of them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest

from chatsys.chat import accounts, conversation
from chatsys.chat.bundle import Chat
from chatsys.chat.fanout import ServerLost, SessionClosed, SessionOpened
from chatsys.errors import StoreUnavailable
from chatsys.model.values import Participant, Session

from .conftest import People, Recorder

Break = Callable[..., None]


@pytest.fixture
def breaks(chat: Chat, monkeypatch: pytest.MonkeyPatch) -> Break:
    """Make the next calls of a verb fail, after the work was done (``answer`` lost) or before it."""

    def fail(verb: str, *, answer_lost: bool = True, times: int = 1) -> None:
        whole = getattr(chat.store, verb)
        left = times

        async def broken(*arguments: Any) -> Any:
            nonlocal left
            if left and not answer_lost:
                left -= 1
                raise StoreUnavailable
            done = await whole(*arguments)
            if left:
                left -= 1
                raise StoreUnavailable
            return done

        monkeypatch.setattr(chat.store, verb, broken)

    return fail


def guest(name: str = "gus") -> Participant:
    return Participant(user_id=f"guest-{name}", username=name, display_name=name, avatar="", guest=True)


async def settled(chat: Chat) -> None:
    """Wait until no session waits to be closed."""
    async with asyncio.timeout(10):
        while chat.endings._task is not None:
            await asyncio.sleep(0.01)


async def test_join_with_a_lost_answer_leaves_no_session(chat: Chat, fanout: Recorder, breaks: Break) -> None:
    breaks("open_session")
    with pytest.raises(StoreUnavailable):
        await conversation.join(chat, "tea", guest(), "socket")
    await settled(chat)
    assert await chat.store.sessions("tea") == []
    assert [type(event) for event in fanout.events] == [SessionClosed]


async def test_join_that_the_store_refused_is_not_published(chat: Chat, fanout: Recorder, breaks: Break) -> None:
    breaks("open_session", answer_lost=False)
    with pytest.raises(StoreUnavailable):
        await conversation.join(chat, "tea", guest(), "socket")
    await settled(chat)
    assert fanout.events == []


async def test_socket_that_rejoins_after_a_lost_answer_has_only_the_new_session(
    chat: Chat, fanout: Recorder, breaks: Break
) -> None:
    breaks("open_session")
    with pytest.raises(StoreUnavailable):
        await conversation.join(chat, "tea", guest(), "socket")
    joined = await conversation.join(chat, "cake", guest(), "socket")
    await settled(chat)
    assert await chat.store.sessions("tea") == []
    assert await chat.store.sessions("cake") == [joined.session]
    assert [type(event) for event in fanout.events] == [SessionClosed, SessionOpened]


async def test_leave_with_a_lost_answer_makes_its_room_read_again(chat: Chat, fanout: Recorder, breaks: Break) -> None:
    session = (await conversation.join(chat, "tea", guest(), "socket")).session
    fanout.take()
    breaks("close_session")
    with pytest.raises(StoreUnavailable):
        await conversation.leave(chat, session)
    await settled(chat)
    assert fanout.take() == [ServerLost(room="tea")]


async def test_leave_that_the_store_refused_is_repeated(chat: Chat, fanout: Recorder, breaks: Break) -> None:
    session = (await conversation.join(chat, "tea", guest(), "socket")).session
    fanout.take()
    breaks("close_session", answer_lost=False)
    with pytest.raises(StoreUnavailable):
        await conversation.leave(chat, session)
    await settled(chat)
    assert [type(event) for event in fanout.take()] == [SessionClosed]
    assert await chat.store.sessions("tea") == []


async def test_deletion_with_a_lost_answer_makes_its_rooms_read_again(
    chat: Chat, people: People, fanout: Recorder, breaks: Break
) -> None:
    user, token = await people.register("ann")
    for room in ("tea", "cake"):
        await conversation.join(chat, room, conversation.participant(user), f"in {room}")
    fanout.take()
    breaks("retire_user")
    with pytest.raises(StoreUnavailable):
        await accounts.delete_account(chat, token, user.user_id)
    await settled(chat)
    assert fanout.take() == [ServerLost(room="cake"), ServerLost(room="tea")]


async def test_deletion_that_the_store_refused_changes_nothing(
    chat: Chat, people: People, fanout: Recorder, breaks: Break
) -> None:
    user, token = await people.register("ann")
    joined = await conversation.join(chat, "tea", conversation.participant(user), "socket")
    fanout.take()
    breaks("retire_user", answer_lost=False)
    with pytest.raises(StoreUnavailable):
        await accounts.delete_account(chat, token, user.user_id)
    await settled(chat)
    assert fanout.take() == []
    assert [each.session_id for each in await chat.store.sessions("tea")] == [joined.session.session_id]


async def opened(chat: Chat, count: int) -> list[Session]:
    return [(await conversation.join(chat, "tea", guest(f"g{n}"), f"s{n}")).session for n in range(count)]


async def test_sessions_whose_sockets_closed_in_an_outage_end_in_batches(
    chat: Chat, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, breaks: Break, fanout: Recorder
) -> None:
    monkeypatch.setattr("chatsys.chat.endings.RETRY", 0.0)
    monkeypatch.setattr("chatsys.chat.endings.BATCH", 24)
    sessions = await opened(chat, 100)
    fanout.take()
    breaks("close_sessions", answer_lost=False, times=2)
    whole, calls = chat.store.close_sessions, []

    async def counted(session_ids: list[str], at: Any) -> Any:
        calls.append(len(session_ids))
        return await whole(session_ids, at)

    monkeypatch.setattr(chat.store, "close_sessions", counted)
    with caplog.at_level(logging.WARNING):
        for session in sessions:
            chat.endings.end(session)
        await settled(chat)
    assert await chat.store.activity() == (0, 0)
    assert calls == [24, 12, 6, 12, 24, 24, 24, 10]
    assert len(fanout.take()) == 100
    assert caplog.records == []


async def test_session_that_can_not_be_closed_delays_no_other(
    chat: Chat, monkeypatch: pytest.MonkeyPatch, fanout: Recorder
) -> None:
    monkeypatch.setattr("chatsys.chat.endings.RETRY", 0.0)
    sessions = await opened(chat, 50)
    whole, locked = chat.store.close_sessions, sessions[7].session_id

    async def with_a_lock(session_ids: list[str], at: Any) -> Any:
        if locked in session_ids:
            raise StoreUnavailable
        return await whole(session_ids, at)

    monkeypatch.setattr(chat.store, "close_sessions", with_a_lock)
    for session in sessions:
        chat.endings.end(session)
    async with asyncio.timeout(10):
        while len(await chat.store.sessions("tea")) > 1:
            await asyncio.sleep(0)
    assert [each.session_id for each in await chat.store.sessions("tea")] == [locked]


async def test_event_loop_keeps_running_while_sessions_end(chat: Chat) -> None:
    for session in await opened(chat, 200):
        chat.endings.end(session)
    iterations = 0
    while chat.endings._task is not None:
        iterations += 1
        await asyncio.sleep(0)
    assert iterations >= 200 / 25


async def test_sessions_beyond_the_queue_limit_end_with_the_server(
    chat: Chat, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("chatsys.chat.endings.MOST", 2)
    sessions = await opened(chat, 3)
    for session in sessions:
        chat.endings.end(session)
    await settled(chat)
    assert [each.session_id for each in await chat.store.sessions("tea")] == [sessions[2].session_id]
    assert len(caplog.records) == 1
