"""Verbs in a room: identity, what is published, and that it was stored before."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from chatsys.chat import accounts, conversation
from chatsys.chat.fanout import (
    MessageDelivered,
    MessagePosted,
    MessageRead,
    MessagesRead,
    PresenceChanged,
    SessionClosed,
    SessionOpened,
    Typing,
)
from chatsys.chat.tokens import Tokens
from chatsys.errors import InvalidInput, JoinRefused, NotFound, StoreUnavailable, UserNotFound
from tests.chat.conftest import SECRET

SOCKET = "Ab_socket-1"
USER_ID = "018f0000-0000-7000-8000-000000000000"


async def identify(chat, token=None, username="Gus", user_id=None):
    who, _ = await conversation.identify(chat, token=token, username=username, user_id=user_id, socket_id=SOCKET)
    return who


# -- identity


async def test_join_with_a_valid_token_ignores_the_rest_of_the_payload(chat, people):
    user, token = await people.register("ann", displayName="Ann")
    for username, user_id in ((None, None), ("eve", "guest-eve"), (7, [])):
        who = await identify(chat, token, username, user_id)
        assert (who.user_id, who.username, who.display_name, who.guest) == (user.user_id, "ann", "Ann", False)
        assert who.avatar == user.avatar


async def test_join_with_an_unusable_token_makes_a_guest(chat, people):
    user, token = await people.register("ann")
    expired = chat.tokens.issue(user, datetime.now(UTC) - timedelta(days=8))
    for bad in (None, "", "garbage", expired, 7, {}, "\ud800"):
        assert (await identify(chat, bad)).guest
    await accounts.delete_account(chat, token, user.user_id)
    assert (await identify(chat, token)).guest
    with pytest.raises(JoinRefused):
        await identify(chat, token, username=None)


@pytest.mark.parametrize("name", ["Gus", " Gus ", "x" * 50, "\U0001f600", "%"])
async def test_guest_has_the_name_that_it_gives(chat, name):
    who = await identify(chat, username=name)
    assert (who.username, who.display_name, who.guest) == (name, name, True)
    assert who.avatar.startswith("https://ui-avatars.com/api/?name=")
    assert " " not in who.avatar


async def test_lone_surrogates_in_guest_names_and_ids_are_replaced(chat):
    who = await identify(chat, username="a\ud800", user_id="g\udfff")
    assert (who.username, who.user_id) == ("a\ufffd", "g\ufffd")
    assert "name=a%EF%BF%BD&" in who.avatar


@pytest.mark.parametrize("name", [None, "", "  ", "\u3000", "x" * 51, "a\0b", 7, ["Gus"], {}])
async def test_guest_without_a_usable_name_may_not_join(chat, name):
    with pytest.raises(JoinRefused):
        await identify(chat, username=name)


@pytest.mark.parametrize(
    "user_id", ["guest-x1", "user-x1", "x", "x" * 64, "018f0000-0000-7000-8000-00000000000", "-" * 36]
)
async def test_guest_keeps_the_id_that_it_gives(chat, user_id):
    assert (await identify(chat, user_id=user_id)).user_id == user_id


@pytest.mark.parametrize(
    "user_id",
    [
        None,
        "",
        "x" * 65,
        7,
        ["x"],
        "a\0",
        "018f0000-0000-7000-8000-000000000000",
        "018F0000-0000-4000-8000-ABCDEF000000",
    ],
)
async def test_missing_or_user_like_guest_id_is_replaced_by_the_socket_id(chat, user_id):
    assert (await identify(chat, user_id=user_id)).user_id == SOCKET


async def test_public_id_without_a_token_never_identifies_the_user(chat, people):
    user, _ = await people.register("ann")
    who = await identify(chat, username="ann", user_id=user.user_id)
    assert (who.user_id, who.guest) == (SOCKET, True)


# -- joining and leaving


async def test_join_is_published_after_it_is_stored_and_a_repetition_is_not(chat, people, fanout):
    _, token = await people.register("ann")
    session = await people.join("tea", token=token, socket_id=SOCKET)
    assert fanout.take() == [SessionOpened(room="tea", session=session)]
    assert fanout.stored[0][1] == [session]
    again = await people.join("tea", token=token, socket_id=SOCKET)
    assert again.session_id == session.session_id
    assert fanout.take() == []


async def test_join_with_a_deleted_account_is_refused(chat, people):
    user, token = await people.register("ann")
    who = await identify(chat, token)
    await accounts.delete_account(chat, token, user.user_id)
    with pytest.raises(JoinRefused):
        await conversation.join(chat, "tea", who, SOCKET)


async def test_leave_is_published_once_and_after_the_session_has_ended(chat, people, fanout):
    _, token = await people.register("ann")
    session, stays = await people.join("tea", token=token), await people.join("tea")
    fanout.take()
    fanout.stored.clear()
    ended = await conversation.leave(chat, session)
    assert ended is not None
    assert fanout.take() == [SessionClosed(room="tea", ended=ended)]
    assert fanout.stored[0][1] == [stays]
    assert await conversation.leave(chat, session) is None
    assert fanout.take() == []


# -- messages


async def test_message_is_in_the_history_when_it_is_published(chat, people, fanout):
    session = await people.join("tea")
    fanout.take()
    fanout.stored.clear()
    posted = await conversation.send(chat, session, " as sent ")
    assert posted.message.text == " as sent "
    assert fanout.take() == [MessagePosted(room="tea", message=posted.message)]
    assert fanout.stored[0][0] == [posted.message]


async def test_repeated_message_is_answered_like_the_first_and_not_published(chat, people, fanout):
    session = await people.join("tea")
    first = await conversation.send(chat, session, "one", "id-1")
    fanout.take()
    again = await conversation.send(chat, session, "one", "id-1")
    assert (again.duplicate, again.message) == (True, first.message)
    assert fanout.take() == []


@pytest.mark.parametrize("text", [None, "", " \n\t", "\u2003", "a\0b", 7, True, ["a"], {"a": 1}, b"bytes"])
async def test_message_without_a_text_is_neither_stored_nor_published(chat, people, fanout, text):
    session = await people.join("tea")
    fanout.take()
    with pytest.raises(InvalidInput):
        await conversation.send(chat, session, text)
    assert fanout.take() == []
    assert await chat.store.history("tea", 10) == []


async def test_lone_surrogates_in_a_text_are_replaced(chat, people):
    session = await people.join("tea")
    posted = await conversation.send(chat, session, "a\ud800 \ud83d\ude00")
    assert posted.message.text == "a\ufffd \U0001f600"


@pytest.mark.parametrize("client_id", ["", "x" * 65, 7, ["x"], "a\0", {}])
async def test_bad_client_message_id_is_refused_and_nothing_is_stored(chat, people, client_id):
    session = await people.join("tea")
    with pytest.raises(InvalidInput):
        await conversation.send(chat, session, "hello", client_id)
    assert await chat.store.history("tea", 10) == []


async def test_deleted_user_can_send_nothing(chat, people, fanout):
    user, token = await people.register("ann")
    session = await people.join("tea", token=token)
    await accounts.delete_account(chat, token, user.user_id)
    fanout.take()
    with pytest.raises(UserNotFound):
        await conversation.send(chat, session, "hello")
    assert fanout.take() == []


async def test_nothing_is_published_when_the_store_fails(chat, people, fanout, monkeypatch):
    session = await people.join("tea")
    other = await conversation.send(chat, await people.join("tea", name="Eve"), "hello")
    fanout.take()

    async def unavailable(*_: object) -> None:
        raise StoreUnavailable

    for verb in ("post_message", "mark_delivered", "mark_read", "mark_some_read", "close_session"):
        monkeypatch.setattr(chat.store, verb, unavailable)
    for attempt in (
        conversation.send(chat, session, "lost"),
        conversation.delivered(chat, session, session.room, other.message.message_id),
        conversation.read(chat, session, session.room, other.message.message_id),
        conversation.read_all(chat, session, session.room),
        conversation.leave(chat, session),
    ):
        with pytest.raises(StoreUnavailable):
            await attempt
    assert fanout.take() == []


# -- acknowledging


async def test_receipts_are_published_with_the_complete_set_so_far(chat, people, fanout):
    sender, one, two = [await people.join("tea", name=name) for name in ("Ann", "Bob", "Cat")]
    message_id = (await conversation.send(chat, sender, "hello")).message.message_id
    fanout.take()
    assert await conversation.delivered(chat, one, one.room, message_id)
    assert await conversation.delivered(chat, two, two.room, message_id)
    assert await conversation.read(chat, two, two.room, message_id)
    first, second, third = fanout.take()
    assert isinstance(first, MessageDelivered)
    assert (first.delivered_to, first.by) == ((one.who.user_id,), one.who)
    assert isinstance(second, MessageDelivered)
    assert set(second.delivered_to) == {one.who.user_id, two.who.user_id}
    assert isinstance(third, MessageRead)
    assert (third.read_by, third.message_id) == ((two.who.user_id,), message_id)


async def test_receipts_for_own_foreign_and_unknown_messages_are_ignored(chat, people, fanout):
    here, there = await people.join("tea"), await people.join("cake", name="Eve")
    mine = (await conversation.send(chat, here, "hello")).message.message_id
    theirs = (await conversation.send(chat, there, "hello")).message.message_id
    fanout.take()
    for message_id in (mine, theirs, "not-a-uuid", USER_ID):
        assert not await conversation.delivered(chat, here, here.room, message_id)
        assert not await conversation.read(chat, here, here.room, message_id)
    assert fanout.take() == []


async def test_receipt_for_a_room_without_a_session_is_refused(chat, people, fanout):
    here, there = await people.join("tea"), await people.join("cake", name="Eve")
    theirs = (await conversation.send(chat, there, "hello")).message.message_id
    fanout.take()
    for attempt in (
        conversation.delivered(chat, here, "cake", theirs),
        conversation.read(chat, here, "cake", theirs),
        conversation.read_all(chat, here, "cake"),
        conversation.read_all(chat, here, None),
    ):
        with pytest.raises(NotFound):
            await attempt
    assert fanout.take() == []


async def test_mark_all_read_publishes_exactly_the_newly_read_messages(chat, people, fanout):
    writer, reader = await people.join("tea", name="Ann"), await people.join("tea", name="Bob")
    sent = [(await conversation.send(chat, writer, str(number))).message.message_id for number in range(3)]
    await conversation.read(chat, reader, reader.room, sent[1])
    fanout.take()
    assert await conversation.read_all(chat, reader, reader.room) == 2
    (event,) = fanout.take()
    assert isinstance(event, MessagesRead)
    assert (event.message_ids, event.by) == ((sent[0], sent[2]), reader.who)
    assert await conversation.read_all(chat, reader, reader.room) == 0
    assert fanout.take() == []


@pytest.mark.parametrize("stored_at_once", [1, 2])
async def test_mark_all_read_publishes_each_part_after_it_is_stored(chat, people, fanout, monkeypatch, stored_at_once):
    writer, reader = await people.join("tea", name="Ann"), await people.join("tea", name="Bob")
    sent = [(await conversation.send(chat, writer, str(number))).message.message_id for number in range(5)]
    monkeypatch.setattr("chatsys.store.memory.store.PART_MARKED", stored_at_once)
    monkeypatch.setattr(conversation, "READ_TOGETHER", 2)
    fanout.take()
    fanout.stored.clear()
    assert await conversation.read_all(chat, reader, reader.room) == 5
    parts = [event.message_ids for event in fanout.take()]
    assert parts == [tuple(sent[:2]), tuple(sent[2:4]), tuple(sent[4:])]
    for (_, _, counts), published in zip(fanout.stored, (2, 4, 5), strict=True):
        assert counts.unread_count <= 5 - published


async def test_interrupted_mark_all_read_publishes_the_stored_part(chat, people, fanout, monkeypatch):
    writer, reader = await people.join("tea", name="Ann"), await people.join("tea", name="Bob")
    sent = [(await conversation.send(chat, writer, str(number))).message.message_id for number in range(5)]
    monkeypatch.setattr("chatsys.store.memory.store.PART_MARKED", 1)
    mark, parts = chat.store.mark_some_read, []

    async def mark_and_break(*arguments):
        if len(parts) == 3:
            raise StoreUnavailable
        parts.append(await mark(*arguments))
        return parts[-1]

    monkeypatch.setattr(chat.store, "mark_some_read", mark_and_break)
    fanout.take()
    with pytest.raises(StoreUnavailable):
        await conversation.read_all(chat, reader, reader.room)
    assert [event.message_ids for event in fanout.take()] == [tuple(sent[:3])]


async def test_repeated_receipt_is_acknowledged_and_not_published_again(chat, people, fanout):
    writer, reader = await people.join("tea", name="Ann"), await people.join("tea", name="Bob")
    message_id = (await conversation.send(chat, writer, "hello")).message.message_id
    fanout.take()
    for verb, kind in ((conversation.delivered, MessageDelivered), (conversation.read, MessageRead)):
        assert [await verb(chat, reader, "tea", message_id) for _ in range(3)] == [True] * 3
        assert [type(event) for event in fanout.take()] == [kind]
    assert await conversation.delivered(chat, reader, reader.room, message_id)
    assert fanout.take() == []


# -- presence


async def test_typing_is_published_and_never_stored(chat, people, fanout):
    session = await people.join("tea")
    fanout.take()
    await conversation.typing(chat, session, True)
    assert fanout.take() == [Typing(room="tea", who=session.who, socket_id=session.socket_id, is_typing=True)]


async def test_status_is_published_and_stored_only_for_users(chat, people, fanout):
    user, token = await people.register("ann")
    for session in (await people.join("tea", token=token), await people.join("tea")):
        fanout.take()
        await conversation.set_online(chat, session, False)
        (event,) = fanout.take()
        assert isinstance(event, PresenceChanged)
        assert (event.who, event.online) == (session.who, False)
    stored = await accounts.profile(chat, user.user_id)
    assert not stored.online
    assert stored.last_seen is not None


async def test_join_says_why_a_token_was_not_accepted(chat, people):
    user, token = await people.register("ann")
    expired = Tokens(SECRET, timedelta(seconds=-1)).issue(user, chat.clock.now())
    foreign = Tokens("x" * 32, timedelta(days=1)).issue(user, chat.clock.now())

    async def published(sent: object) -> tuple[bool, str | None]:
        who, reason = await conversation.identify(chat, token=sent, username="Gus", user_id=None, socket_id=SOCKET)
        return who.guest, reason

    assert await published(token) == (False, None)
    assert [await published(sent) for sent in (None, "")] == [(True, None)] * 2
    assert await published(expired) == (True, "expired")
    assert [await published(sent) for sent in (foreign, "garbage", 7, ["x"])] == [(True, "invalid")] * 4
    await chat.store.delete_user(user.user_id, chat.clock.now())
    assert await published(token) == (True, "unknown")


# -- reading


async def test_replay_gives_the_newest_of_the_missed_messages(chat, people):
    session = await people.join("tea")
    for number in range(1, 8):
        await conversation.send(chat, session, str(number))
    cut, complete = await conversation.missed(chat, "tea", 1, 4)
    assert ([message.seq for message in cut], complete) == ([4, 5, 6, 7], False)
    rest, complete = await conversation.missed(chat, "tea", 3, 4)
    assert ([message.seq for message in rest], complete) == ([4, 5, 6, 7], True)
