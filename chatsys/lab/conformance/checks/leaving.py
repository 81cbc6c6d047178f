"""§9.9: leaving and disconnecting."""

from __future__ import annotations

import time

from chatsys.lab.conformance.check import check
from chatsys.lab.conformance.probe import CheckedMember, CheckProbe
from chatsys.lab.conformance.shapes import EVENTS, conform, same, true

ORDER = ["user-left", "user-status-update", "room-users"]


async def _pair(probe: CheckProbe) -> tuple[CheckedMember, CheckedMember]:
    watcher = await probe.member(name="Watcher")
    member = await probe.member(watcher.room, account=await probe.account(displayName="Ann Lee"))
    await watcher.client.list_of(2)
    await probe.settle(watcher, member)
    return watcher, member


@check(
    "9.9",
    "1. `user-left`: `{username, displayName, userId, message, timestamp}`; `message` is "
    "`<displayName> has left the chat`.",
)
async def the_others_get_user_left(probe: CheckProbe) -> None:
    watcher, member = await _pair(probe)
    await member.client.emit("leave-room")
    shape = EVENTS["user-left"] | member.who() | {"message": "Ann Lee has left the chat"}
    conform(await watcher.client.want("user-left"), shape, "user-left")


@check("9.9", "2. `user-status-update` with `online: false`, only if the user has no other session anywhere.")
async def the_others_get_the_status_of_who_left(probe: CheckProbe) -> None:
    watcher, member = await _pair(probe)
    await member.client.emit("leave-room")
    shape = EVENTS["user-status-update"] | member.who() | {"online": False}
    conform(await watcher.client.want("user-status-update"), shape, "user-status-update")


@check("9.9", "2. `user-status-update` with `online: false`, only if the user has no other session anywhere.")
async def no_status_comes_with_another_session(probe: CheckProbe) -> None:
    watcher, member = await _pair(probe)
    await probe.member(name="Ann elsewhere", account=member.account)
    await member.client.emit("leave-room")
    await watcher.client.want("user-left")
    await probe.gets_no("user-status-update", watcher)


@check("9.9", "3. `room-users` without the session that ended.")
async def the_list_is_without_who_left(probe: CheckProbe) -> None:
    watcher, member = await _pair(probe)
    await member.client.emit("leave-room")
    await watcher.client.want("user-left")
    same([each["userId"] for each in await watcher.client.list_of(1)], [watcher.user_id], "who is in the list")


async def _ordered(watcher: CheckedMember, known: list[str]) -> None:
    """Require that the three events, in order, follow those in ``known``."""
    await watcher.client.list_of(1)
    same(watcher.client.names()[len(known) :], ORDER, "the events that came, in order")


@check("9.9", "The session ends first. Then **O** get, in this order:")
async def leaving_sends_three_events_in_order(probe: CheckProbe) -> None:
    watcher, member = await _pair(probe)
    known = watcher.client.names()
    await member.client.emit("leave-room")
    await _ordered(watcher, known)


@check("9.9", "A disconnect is noticed at once when the client closes")
async def a_disconnect_sends_the_same_at_once(probe: CheckProbe) -> None:
    watcher, member = await _pair(probe)
    known, begun = watcher.client.names(), time.monotonic()
    await member.client.close()
    await _ordered(watcher, known)
    true(time.monotonic() - begun < 20, "the disconnect was noticed late")


@check("9.9", "After `leave-room` the connection stays open, gets nothing more from that room, and may join again.")
async def who_left_gets_nothing_more(probe: CheckProbe) -> None:
    watcher, member = await _pair(probe)
    await member.client.emit("leave-room")
    await watcher.client.want("user-left")
    known = member.client.names()
    await watcher.says("after")
    await probe.settle(watcher)
    same(member.client.names()[len(known) :], [], "the events that came to the client that left")
    true(member.client.sio.connected, "the connection is closed")


@check("9.9", "After `leave-room` the connection stays open, gets nothing more from that room, and may join again.")
async def who_left_may_join_again(probe: CheckProbe) -> None:
    watcher, member = await _pair(probe)
    await member.client.emit("leave-room")
    await watcher.client.want("user-left")
    await probe.join(member.client, member.room, token=member.account.token, username=member.account.username)
    await member.says("back")
    await watcher.client.text("back")


@check("9.9", "Leaving twice, or disconnecting after leaving, sends nothing more.")
async def leaving_twice_sends_nothing_more(probe: CheckProbe) -> None:
    watcher, member = await _pair(probe)
    await member.client.emit("leave-room")
    await watcher.client.want("user-status-update")
    await member.client.emit("leave-room")
    await member.client.close()
    await probe.settle(watcher)
    same(len(watcher.client.all("user-left")), 1, "how often user-left came")
    same(len(watcher.client.all("user-status-update")), 1, "how often user-status-update came")
